#include "vmm/cmdline.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void gives(const struct run_config *config, const char *expected)
{
    char *text;

    cr_assert_eq(cmdline_create(&text, config, NULL), 0);
    cr_assert_str_eq(text, expected);
    free(text);
}

Test(cmdline, nothing_implied_is_what_the_user_wrote)
{
    gives(&(struct run_config){0}, "");
    gives(&(struct run_config){.params = {"quiet", "panic=-1"}, .param_count = 2},
          "quiet panic=-1");
}

Test(cmdline, consoles_and_root_come_before_the_users_words)
{
    const struct run_config config = {
        .serials = {{.hardware = SERIAL_HW_16550, .num = 2, .console = true},
                    {.hardware = SERIAL_HW_VIRTIO_CONSOLE, .num = 1, .console = true},
                    {.hardware = SERIAL_HW_DEBUGCON, .num = 1, .console = true}},
        .serial_count = 3,
        .disks = {{.path = "a"}, {.path = "b", .root = true}},
        .disk_count = 2,
        .params = {"root=/dev/vdz"},
        .param_count = 1,
    };

    gives(&config, "console=ttyS1 console=hvc0 root=/dev/vdb rw root=/dev/vdz");
}

Test(cmdline, read_only_root_is_mounted_read_only)
{
    const struct run_config config = {.disks = {{.path = "a", .root = true, .read_only = true}},
                                      .disk_count = 1};

    gives(&config, "root=/dev/vda ro");
}
