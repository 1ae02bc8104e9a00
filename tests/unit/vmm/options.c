#include "vmm/options.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "vmm/status.h"

/* Parses a command line given as one string of words. */
struct parsed {
    char text[1024];
    char *argv[48];
    int argc;
    bool help;
    int ret;
    struct err err;
    struct run_config config;
};

static struct parsed *parse(const char *words)
{
    static struct parsed p;
    char *rest;

    memset(&p, 0, sizeof(p));
    snprintf(p.text, sizeof(p.text), "run %s", words);
    for (char *word = strtok_r(p.text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        p.argv[p.argc++] = word;
    p.ret = options_parse(p.argc, p.argv, &p.config, &p.help, &p.err);
    return &p;
}

static void refused(const char *words, int ret, const char *says)
{
    struct parsed *p = parse(words);

    cr_assert_eq(p->ret, ret, "'%s' gave %d", words, p->ret);
    cr_assert(strstr(p->err.text, says), "'%s' said: %s", words, p->err.text);
    cr_assert(!strchr(p->err.text, '\n'));
}

Test(options, defaults_boot_a_kernel_with_a_console)
{
    struct parsed *p = parse("vmlinuz");

    cr_assert_eq(p->ret, 0);
    cr_assert_str_eq(p->config.kernel_path, "vmlinuz");
    cr_assert_eq(p->config.mem_size, 256ULL << 20);
    cr_assert_eq(p->config.vcpu_count, 1);
    cr_assert_eq(p->config.serial_count, 1);
    cr_assert(p->config.serials[0].console && p->config.serials[0].takes_stdin);
    cr_assert_str_eq(p->config.kvm_path, "/dev/kvm");
    cr_assert_not(p->config.register_memory, "it pins memory");
}

Test(options, everything_at_once)
{
    struct parsed *p = parse(
        "-m 2G --cpus 4 -p console=ttyS0 --params quiet -i initrd --block a.img,ro,root,id=X "
        "-b path=b.img,direct,iopoll,queues=3,packed-queue,in-order,block-size=4096,bw=10M,"
        "bw-burst=1G,ops=500,ops-burst=7 "
        "--net packed-queue=true,tap-name=t0,mac=52:54:00:00:00:01,rx-bw=5M,"
        "rx-bw-burst=1K,tx-packets=900,tx-packets-burst=3 "
        "--net tap-fd=7,vq-pairs=2,mtu=9000,transport=mmio,vhost --serial type=file,path=out,num=2 "
        "--serial "
        "type=pty,hardware=virtio-console,console,packed-queue "
        "--rng packed-queue --no-rng --exit-on-reset --poll-us 0 --no-notify-ports "
        "--register-memory "
        "--log-level debug --kvm-device /dev/other vmlinuz");
    const struct run_config *c = &p->config;

    cr_assert_eq(p->ret, 0, "%s", p->err.text);
    cr_assert_eq(c->mem_size, 2ULL << 30);
    cr_assert_eq(c->vcpu_count, 4);
    cr_assert_eq(c->param_count, 2);
    cr_assert_str_eq(c->params[1], "quiet");
    cr_assert_str_eq(c->initrd_path, "initrd");
    cr_assert_eq(c->disk_count, 2);
    cr_assert(c->disks[0].read_only && c->disks[0].root && !c->disks[0].direct);
    cr_assert_str_eq(c->disks[0].path, "a.img");
    cr_assert_str_eq(c->disks[0].id, "X");
    cr_assert_str_eq(c->disks[1].path, "b.img");
    cr_assert(c->disks[1].direct && !c->disks[1].read_only);
    cr_assert(c->disks[1].iopoll && !c->disks[0].iopoll);
    cr_assert(c->disks[1].packed_queue && !c->disks[0].packed_queue, "split is the default");
    cr_assert(c->nets[0].packed_queue && !c->nets[1].packed_queue);
    cr_assert(c->disks[1].in_order && !c->disks[0].in_order);
    cr_assert_eq(c->disks[1].queue_count, 3);
    cr_assert_eq(c->disks[1].block_size, 4096);
    cr_assert_eq(c->disks[1].limit.bytes.rate, 10 << 20);
    cr_assert_eq(c->disks[1].limit.bytes.burst, 1 << 30);
    cr_assert_eq(c->disks[1].limit.operations.rate, 500);
    cr_assert_eq(c->disks[1].limit.operations.burst, 7);
    cr_assert_eq(c->disks[0].limit.bytes.rate, 0);
    cr_assert_eq(c->net_count, 2);
    cr_assert_str_eq(c->nets[0].tap_name, "t0");
    cr_assert_eq(c->nets[0].mac[5], 1);
    cr_assert_eq(c->nets[1].tap_fd, 7);
    cr_assert_eq(c->nets[1].pair_count, 2);
    cr_assert_eq(c->nets[1].mtu, 9000);
    cr_assert(!c->nets[0].vhost && c->nets[1].vhost);
    cr_assert_eq(c->nets[0].rx_limit.bytes.rate, 5 << 20);
    cr_assert_eq(c->nets[0].rx_limit.bytes.burst, 1 << 10);
    cr_assert_eq(c->nets[0].tx_limit.operations.rate, 900);
    cr_assert_eq(c->nets[0].tx_limit.operations.burst, 3);
    cr_assert_eq(c->nets[0].tx_limit.bytes.rate, 0);
    cr_assert_eq(c->nets[0].transport, TRANSPORT_PCI);
    cr_assert_eq(c->nets[1].transport, TRANSPORT_MMIO);
    cr_assert_eq(c->serial_count, 2);
    cr_assert_eq(c->serials[0].num, 2);
    cr_assert_eq(c->serials[1].hardware, SERIAL_HW_VIRTIO_CONSOLE);
    cr_assert(c->serials[1].packed_queue && !c->serials[0].packed_queue);
    cr_assert(c->rng_packed_queue);
    cr_assert(c->no_rng && c->exit_on_reset && c->register_memory && c->no_notify_ports);
    cr_assert_eq(c->poll_us, 0);
    cr_assert_eq(c->log_level, LOG_DEBUG);
    cr_assert_str_eq(c->kvm_path, "/dev/other");
}

Test(options, unknown_options_and_missing_values_are_named)
{
    refused("--frob k", -EINVAL, "unknown option --frob;");
    refused("--frob=1 k", -EINVAL, "unknown option --frob=1;");
    refused("-z k", -EINVAL, "unknown option -z;");
    refused("k -m", -EINVAL, "-m");
    refused("k --mem", -EINVAL, "--mem");
    refused("--mem= k", -EINVAL, "--mem needs a value");
    refused("--kvm-device= k", -EINVAL, "--kvm-device needs a value");
    refused("--no-rng=1 k", -EINVAL, "--no-rng=1: this option takes no value");
    refused("", -EINVAL, "no kernel");
    refused("k second", -EINVAL, "second");
}

Test(options, unknown_keys_are_named_with_the_known_ones)
{
    refused("-b a,frob=1 k", -EINVAL,
            "--block: unknown key 'frob'; known are path, ro, root, direct, iopoll, id, queues, "
            "packed-queue, in-order, transport, block-size, bw, bw-burst, ops, ops-burst");
    refused("-b a,transport=isa k", -EINVAL, "isa");
    refused("-b a,iopoll k", -EINVAL, "--block: iopoll goes with direct");
    refused("-b a, k", -EINVAL, "unknown key ''");
    refused("--net tap-name=a,frob k", -EINVAL, "unknown key 'frob'");
    refused("--serial type=sink,frob k", -EINVAL, "unknown key 'frob'");
    refused("--rng frob k", -EINVAL, "unknown key 'frob'; known are packed-queue");
}

Test(options, numbers_are_checked)
{
    refused("-m 0 k", -ERANGE, "--mem");
    refused("-m 99999999999999G k", -ERANGE, "--mem");
    refused("-m lots k", -EINVAL, "lots");
    refused("-m 12Q k", -EINVAL, "12Q");
    refused("-m -5 k", -EINVAL, "-5");
    refused("-c 0 k", -ERANGE, "--cpus");
    refused("-c 65 k", -ERANGE, "64");
    refused("-b a,queues=0 k", -ERANGE, "queues");
    refused("-b a,block-size=700 k", -EINVAL, "block-size");
    refused("-b a,bw=0 k", -ERANGE, "--block: bw: 0 is out of range");
    refused("-b a,bw=9999G k", -ERANGE, "931G");
    refused("-b a,bw=fast k", -EINVAL, "--block: bw: 'fast'");
    refused("-b a,ops=0 k", -ERANGE, "--block: ops");
    refused("--poll-us x k", -EINVAL, "--poll-us");
    refused("--net tap-name=a,mtu=1 k", -ERANGE, "mtu");
    refused("--net tap-name=a,rx-packets=0 k", -ERANGE, "rx-packets");
    refused("--net tap-name=a,tx-bw-burst=1M k", -EINVAL, "tx-bw-burst goes with tx-bw");
    refused("--net tap-name=a,vhost,tx-bw=1M k", -EINVAL, "vhost has no limits");
    refused("--log-level loud k", -EINVAL, "loud");
    cr_assert_eq(parse("-m 0512 k")->config.mem_size, 512ULL << 20, "decimal");
    cr_assert_eq(parse("-m 0x200 k")->config.mem_size, 512ULL << 20);
    refused("-m 0x k", -EINVAL, "0x");
}

Test(options, crosvm_s_keys_of_memory_and_cpus_are_understood)
{
    struct parsed *p = parse("-m size=512 -c num-cores=2 k");

    cr_assert_eq(p->ret, 0, "%s", p->err.text);
    cr_assert_eq(p->config.mem_size, 512ULL << 20);
    cr_assert_eq(p->config.vcpu_count, 2);
    refused("-m sizes=512 k", -EINVAL, "sizes=512");
}

Test(options, what_can_be_only_one_thing_is_given_once)
{
    refused("-m 512 -m 256 k", -EINVAL, "--mem: given twice");
    refused("-c 1 --cpus 2 k", -EINVAL, "--cpus: given twice");
    refused("--poll-us 1 --poll-us 1 k", -EINVAL, "--poll-us: given twice");
    refused("-b a,path=b k", -EINVAL, "--block: path is given twice");
    refused("-b a,ro,root,ro=false k", -EINVAL, "--block: ro is given twice");
    refused("--net tap-name=a,tap-name=b k", -EINVAL, "--net: tap-name is given twice");
    refused("--serial type=sink,type=pty k", -EINVAL, "--serial: type is given twice");
    cr_assert_eq(parse("--no-rng --no-rng k")->ret, 0);
}

Test(options, contradictions_are_refused)
{
    refused("-b a,root -b b,root k", -EINVAL, "only one disk");
    refused("-b ro,root k -b ,ro", -EINVAL, "no path");
    refused("-b a,bw-burst=1 k", -EINVAL, "--block: bw-burst goes with bw");
    refused("-b a,ops-burst=1 k", -EINVAL, "--block: ops-burst goes with ops");
    refused("-i a -i b k", -EINVAL, "twice");
    refused("--net mac=52:54:00:00:00:01 k", -EINVAL, "exactly one");
    refused("--net tap-name=a,tap-fd=3 k", -EINVAL, "exactly one");
    refused("--serial type=file k", -EINVAL, "path");
    refused("--serial num=1 k", -EINVAL, "no type");
    refused("--serial type=sink --serial type=stdout k", -EINVAL, "num=1");
    refused("--serial type=frob k", -EINVAL, "stdout, file, sink, pty");
    refused("--serial type=sink,packed-queue k", -EINVAL, "goes with hardware=virtio-console");
    refused("--serial type=stdout --serial type=stdout,num=2,stdin k", -EINVAL, "stdin");
}

Test(options, mac_addresses_are_checked)
{
    refused("--net tap-name=a,mac=52:54:00:00:00 k", -EINVAL, "MAC");
    refused("--net tap-name=a,mac=52:54:00:00:00:0g k", -EINVAL, "MAC");
    refused("--net tap-name=a,mac=52:54:00:00:00:011 k", -EINVAL, "MAC");
    refused("--net tap-name=a,mac=01:54:00:00:00:01 k", -EINVAL, "unicast");
    refused("--net tap-name=a,mac=00:00:00:00:00:00 k", -EINVAL, "unicast");
}

Test(options, help_names_every_option_the_parser_takes)
{
    static const char *const names[] = {
        "--mem",     "--cpus",       "--params",    "--initrd",          "--block",
        "--net",     "--serial",     "--rng",       "--no-rng",          "--exit-on-reset",
        "--poll-us", "--kvm-device", "--log-level", "--register-memory", "--no-notify-ports",
        "--help"};
    char text[8192];
    FILE *out = fmemopen(text, sizeof(text), "w");

    cr_assert_not_null(out);
    options_print_help(out);
    fclose(out);
    for (size_t i = 0; i < array_count(names); i++)
        cr_assert(strstr(text, names[i]), "%s", names[i]);
    for (enum exit_status status = EXIT_STOPPED; status <= EXIT_HUNG; status++) {
        char number[2][8];

        snprintf(number[0], sizeof(number[0]), " %d ", status);
        snprintf(number[1], sizeof(number[1]), " %d,", status);
        cr_assert(strstr(text, number[0]) || strstr(text, number[1]), "status %d", status);
    }
    cr_assert(parse("--help")->help);
    cr_assert(parse("-h")->help);
}
