#include "cli/option.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cli/keyval.h"

struct config {
    const char *name;
    unsigned verbose, adds;
};

static int apply_name(void *config, char *value, struct err *err)
{
    (void)err;
    ((struct config *)config)->name = value;
    return 0;
}

static int apply_verbose(void *config, char *value, struct err *err)
{
    (void)err;
    cr_assert_null(value);
    ((struct config *)config)->verbose++;
    return 0;
}

static int apply_add(void *config, char *value, struct err *err)
{
    if (!strcmp(value, "bad"))
        return err_set(err, -ERANGE, "--add: bad");
    ((struct config *)config)->adds++;
    return 0;
}

static const struct option_def defs[] = {
    {'n', "name", "TEXT", false, false, "a name", apply_name},
    {0, "add", "WHAT", true, true, "adds\ntwo lines", apply_add},
    {'v', "verbose", NULL, false, false, "says more", apply_verbose},
};
static const struct option_table table = {
    .command = "tool verb",
    .intro = "usage: tool verb\n",
    .options = defs,
    .count = array_count(defs),
    .outro = "the end\n",
};

static struct parsed {
    struct config config;
    char text[256];
    char *argv[16];
    int argc, first, ret;
    bool help;
    struct err err;
} p;

/* Words are separated by single blanks, so that two of them make an empty one. */
static void parse(const char *words)
{
    char *rest = p.text;

    memset(&p, 0, sizeof(p));
    snprintf(p.text, sizeof(p.text), "verb %s", words);
    while ((p.argv[p.argc] = strsep(&rest, " ")))
        p.argc++;
    p.ret = option_parse(&table, p.argc, p.argv, &p.config, &p.help, &p.first, &p.err);
}

static void refused(const char *words, int ret, const char *says)
{
    parse(words);
    cr_assert_eq(p.ret, ret, "'%s' gave %d", words, p.ret);
    cr_assert(strstr(p.err.text, says), "'%s' said: %s", words, p.err.text);
}

Test(option, values_come_in_every_form)
{
    static const char *const forms[] = {"-n x", "-nx", "--name x", "--name=x", "--na x"};

    for (size_t i = 0; i < array_count(forms); i++) {
        parse(forms[i]);
        cr_assert_eq(p.ret, 0, "%s: %s", forms[i], p.err.text);
        cr_assert_str_eq(p.config.name, "x");
    }
}

Test(option, arguments_are_found_behind_and_between_options)
{
    parse("first -v second --add a");
    cr_assert_eq(p.ret, 0);
    cr_assert_eq(p.first + 2, p.argc);
    cr_assert_str_eq(p.argv[p.first], "first");
    cr_assert_str_eq(p.argv[p.first + 1], "second");
    cr_assert_eq(p.config.adds, 1);
}

Test(option, mistakes_are_named)
{
    refused("--bogus", -EINVAL, "unknown option --bogus; see tool verb --help");
    refused("-x", -EINVAL, "unknown option -x");
    refused("--name", -EINVAL, "--name needs a value");
    refused("--name= -v", -EINVAL, "--name needs a value");
    refused("--verbose=3", -EINVAL, "takes no value");
    refused("-n x --name y", -EINVAL, "--name: given twice");
    refused("--add bad", -ERANGE, "--add: bad");
}

Test(option, what_repeats_and_what_may_be_empty)
{
    parse("--add a --add= -v -v");
    cr_assert_eq(p.ret, 0, "%s", p.err.text);
    cr_assert_eq(p.config.adds, 2);
    cr_assert_eq(p.config.verbose, 2);
}

Test(option, help_ends_the_parsing)
{
    parse("-n x --help --bogus");
    cr_assert_eq(p.ret, 0);
    cr_assert(p.help);
}

Test(option, help_lists_every_option)
{
    char text[1024] = "";
    FILE *out = fmemopen(text, sizeof(text), "w");

    cr_assert_not_null(out);
    option_print_help(&table, out);
    fclose(out);
    cr_assert_str_eq(text, "usage: tool verb\n"
                           "\n"
                           "options:\n"
                           "  -n, --name TEXT            a name\n"
                           "      --add WHAT             adds\n"
                           "                             two lines\n"
                           "  -v, --verbose              says more\n"
                           "  -h, --help                 this text\n"
                           "\n"
                           "the end\n");
}

Test(keyval, durations_have_units)
{
    uint64_t ns;
    struct err err;

    cr_assert_eq(keyval_duration("--d", "250us", 0, UINT64_MAX, &ns, &err), 0);
    cr_assert_eq(ns, 250000);
    cr_assert_eq(keyval_duration("--d", "2min", 0, UINT64_MAX, &ns, &err), 0);
    cr_assert_eq(ns, 120000000000);
    cr_assert_eq(keyval_duration("--d", "7", 0, 10, &ns, &err), -EINVAL);
    cr_assert_eq(keyval_duration("--d", "ms", 0, 10, &ns, &err), -EINVAL);
    cr_assert_eq(keyval_duration("--d", "1.5s", 0, 10, &ns, &err), -EINVAL);
    cr_assert_eq(keyval_duration("--d", "18446744073709551615h", 0, UINT64_MAX, &ns, &err),
                 -ERANGE);
    cr_assert_eq(keyval_duration("--d", "1ms", 1000000000, 60000000000, &ns, &err), -ERANGE);
    cr_assert(strstr(err.text, "it must be 1s to 1min"), "%s", err.text);
}
