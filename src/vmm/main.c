/* The ringvm command: its verbs. */
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "bench/command.h"
#include "exec/executor.h"
#include "kvm/kvm.h"
#include "latency/command.h"
#include "stress/stress.h"
#include "vmm/options.h"
#include "vmm/run.h"

#ifndef RINGVM_VERSION
#error "the Makefile defines RINGVM_VERSION"
#endif

struct verb {
    const char *name;
    const char *help;
    enum exit_status (*main)(int argc, char **argv);
};

/* Whether this host's KVM runs stock Linux kernels: what scripts ask before they start a guest. */
static enum exit_status probe(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : KVM_PATH_DEFAULT;
    struct err err = {""};
    struct kvm *kvm;
    int ret;

    if (argc > 2) {
        fprintf(stderr, "ringvm: unexpected argument '%s'; write ringvm probe [KVM-DEVICE]\n",
                argv[2]);
        return EXIT_BAD_ARGUMENTS;
    }
    if (kvm_open(&kvm, path, &err)) {
        fprintf(stderr, "ringvm: %s\n", err.text);
        return EXIT_HOST_ERROR;
    }
    ret = kvm_can_run_linux(kvm, &err);
    kvm_close(kvm);
    if (ret <= 0) {
        fprintf(stderr, "ringvm: %s\n", err.text);
        return EXIT_HOST_ERROR;
    }
    printf("%s runs stock Linux kernels\n", path);
    return EXIT_POWERED_OFF;
}

/* With -v: what of the kernel's io_uring is in use. */
static enum exit_status version(int argc, char **argv)
{
    struct executor *executor;
    struct err err;
    int ret;

    if (argc > 2 || (argc == 2 && strcmp(argv[1], "-v") != 0)) {
        fprintf(stderr, "ringvm: unexpected argument '%s'; write ringvm --version [-v]\n",
                argv[argc - 1]);
        return EXIT_BAD_ARGUMENTS;
    }
    printf("ringvm %s\n", RINGVM_VERSION);
    if (argc < 2)
        return EXIT_POWERED_OFF;
    if (executor_create(&executor, NULL, &err)) {
        fprintf(stderr, "ringvm: %s\n", err.text);
        return EXIT_HOST_ERROR;
    }
    ret = executor_bind(executor, &err);
    if (ret)
        fprintf(stderr, "ringvm: %s\n", err.text);
    else
        executor_describe(executor, stdout);
    executor_destroy(executor);
    return ret ? EXIT_HOST_ERROR : EXIT_POWERED_OFF;
}

static enum exit_status stress(int argc, char **argv)
{
    switch (stress_command(argc, argv)) {
    case STRESS_HELD:
        return EXIT_POWERED_OFF;
    case STRESS_BAD_ARGUMENTS:
        return EXIT_BAD_ARGUMENTS;
    case STRESS_FAILED:
        break;
    }
    return EXIT_HOST_ERROR;
}

static enum exit_status latency(int argc, char **argv)
{
    switch (latency_command(argc, argv)) {
    case LATENCY_DONE:
        return EXIT_POWERED_OFF;
    case LATENCY_BAD_ARGUMENTS:
        return EXIT_BAD_ARGUMENTS;
    case LATENCY_FAILED:
        break;
    }
    return EXIT_HOST_ERROR;
}

static enum exit_status bench(int argc, char **argv)
{
    switch (bench_command(argc, argv)) {
    case BENCH_DONE:
        return EXIT_POWERED_OFF;
    case BENCH_BAD_ARGUMENTS:
        return EXIT_BAD_ARGUMENTS;
    case BENCH_FAILED:
        break;
    }
    return EXIT_HOST_ERROR;
}

static enum exit_status help(int argc, char **argv);

static const struct verb verbs[] = {
    {"run", "boot a guest and run it until it ends (ringvm run --help)", run},
    {"probe", "say whether this host's KVM runs stock Linux kernels", probe},
    {"stress", "stress the async library's locks and channels (ringvm stress --help)", stress},
    {"latency", "measure how long the executor's steps take (ringvm latency --help)", latency},
    {"bench", "measure from inside a guest: disk, net, exits (ringvm bench --help)", bench},
    {"version", "the version; with -v what of the kernel's io_uring is in use", version},
    {"help", "this text", help},
};

static void print_usage(FILE *out)
{
    fputs("usage: ringvm VERB [OPTIONS]\n\nverbs:\n", out);
    for (size_t i = 0; i < array_count(verbs); i++)
        fprintf(out, "  %-9s %s\n", verbs[i].name, verbs[i].help);
}

static enum exit_status help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    print_usage(stdout);
    return EXIT_POWERED_OFF;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    if (!strcmp(name, "--version"))
        name = "version";
    for (size_t i = 0; i < array_count(verbs); i++)
        if (!strcmp(name, verbs[i].name))
            return (int)verbs[i].main(argc - 1, argv + 1);
    if (*name)
        fprintf(stderr, "ringvm: unknown verb '%s'; see ringvm --help\n", name);
    else
        print_usage(stderr);
    return EXIT_BAD_ARGUMENTS;
}
