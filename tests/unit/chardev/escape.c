#include "chardev/escape.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static size_t filter(struct escape *escape, const char *text, char *out, unsigned *commands)
{
    size_t len = strlen(text);

    memcpy(out, text, len);
    len = escape_filter(escape, (uint8_t *)out, len, commands);
    out[len] = '\0';
    return len;
}

Test(escape, commands_are_taken_out_of_the_input)
{
    struct escape escape = {0};
    unsigned commands;
    char out[32];

    filter(&escape, "plain", out, &commands);
    cr_assert_str_eq(out, "plain");
    cr_assert_eq(commands, 0);
    filter(&escape, "a\1xb", out, &commands);
    cr_assert_str_eq(out, "ab");
    cr_assert_eq(commands, ESCAPE_QUIT);
    filter(&escape, "\1b\1h", out, &commands);
    cr_assert_str_eq(out, "");
    cr_assert_eq(commands, ESCAPE_BREAK | ESCAPE_HELP);
}

Test(escape, a_command_may_be_split_between_reads)
{
    struct escape escape = {0};
    unsigned commands;
    char out[32];

    filter(&escape, "1\1", out, &commands);
    cr_assert_str_eq(out, "1");
    cr_assert_eq(commands, 0);
    filter(&escape, "x2", out, &commands);
    cr_assert_str_eq(out, "2");
    cr_assert_eq(commands, ESCAPE_QUIT);
}

Test(escape, twice_sends_it_and_unknown_letters_are_swallowed)
{
    struct escape escape = {0};
    unsigned commands;
    char out[32];

    filter(&escape, "\1\1x\1zy", out, &commands);
    cr_assert_str_eq(out, "\1xy");
    cr_assert_eq(commands, 0);
    filter(&escape, "\1\1\1x", out, &commands);
    cr_assert_str_eq(out, "\1");
    cr_assert_eq(commands, ESCAPE_QUIT);
}
