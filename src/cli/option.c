#include "cli/option.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/check.h"

enum { HELP_VALUE = OPTIONS_MAX };
/* getopt's values: indices of long options, characters of short ones. */
_Static_assert(HELP_VALUE < ':', "an index must not look like an option character");

struct getopt_tables {
    struct option longs[OPTIONS_MAX + 2];
    char shorts[2 * OPTIONS_MAX + 4];
};

static void getopt_tables_fill(struct getopt_tables *tables, const struct option_table *table)
{
    size_t len = 0;

    CHECK_CMP(table->count, <=, (unsigned)OPTIONS_MAX);
    memset(tables, 0, sizeof(*tables));
    /* A leading ':' makes getopt tell a missing value from an unknown option. */
    tables->shorts[len++] = ':';
    for (unsigned i = 0; i < table->count; i++) {
        const struct option_def *option = &table->options[i];

        tables->longs[i] = (struct option){
            .name = option->name,
            .has_arg = option->metavar ? required_argument : no_argument,
            .val = (int)i,
        };
        if (option->short_name) {
            tables->shorts[len++] = option->short_name;
            if (option->metavar)
                tables->shorts[len++] = ':';
        }
    }
    tables->longs[table->count] = (struct option){.name = "help", .val = HELP_VALUE};
    tables->shorts[len] = 'h';
}

/* What getopt returned to an index of the table, or HELP_VALUE. */
static unsigned option_index(const struct option_table *table, int found)
{
    for (unsigned i = 0; i < table->count; i++)
        if (found == (int)i || found == table->options[i].short_name)
            return i;
    return HELP_VALUE;
}

/* optopt is the character of a short option, the value of a long one that is known, and else 0. */
static int getopt_refused(const struct option_table *table, int found, char **argv, struct err *err)
{
    char name[64];

    if (optopt > HELP_VALUE)
        snprintf(name, sizeof(name), "-%c", optopt);
    else
        snprintf(name, sizeof(name), "%s", argv[optind - 1]);
    if (found == ':')
        return err_set(err, -EINVAL, "%s needs a value; see %s --help", name, table->command);
    if (optopt && optopt <= HELP_VALUE)
        return err_set(err, -EINVAL, "%s: this option takes no value", name);
    return err_set(err, -EINVAL, "unknown option %s; see %s --help", name, table->command);
}

static int option_apply(const struct option_table *table, unsigned index, void *config, bool *given,
                        struct err *err)
{
    const struct option_def *option = &table->options[index];

    if (*given && option->metavar && !option->repeats)
        return err_set(err, -EINVAL, "--%s: given twice", option->name);
    *given = true;
    if (option->metavar && !*optarg && !option->may_be_empty)
        return err_set(err, -EINVAL, "--%s needs a value; see %s --help", option->name,
                       table->command);
    return option->apply(config, optarg, err);
}

int option_parse(const struct option_table *table, int argc, char **argv, void *config,
                 bool *wants_help, int *first, struct err *err)
{
    struct getopt_tables tables;
    bool given[OPTIONS_MAX] = {false};
    int found, ret;

    *wants_help = false;
    getopt_tables_fill(&tables, table);
    opterr = 0;
    optind = 0;
    while ((found = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1) {
        if (found == ':' || found == '?')
            return getopt_refused(table, found, argv, err);
        unsigned index = option_index(table, found);

        if (index == HELP_VALUE) {
            *wants_help = true;
            return 0;
        }
        ret = option_apply(table, index, config, &given[index], err);
        if (ret)
            return ret;
    }
    *first = optind;
    return 0;
}

static void help_print_option(FILE *out, const struct option_def *option)
{
    const char *line = option->help;
    char head[80];
    char short_part[] = {'-', option->short_name, ',', ' ', '\0'};

    snprintf(head, sizeof(head), "%s--%s%s%s", option->short_name ? short_part : "    ",
             option->name, option->metavar ? " " : "", option->metavar ? option->metavar : "");
    fprintf(out, "  %-26s", head);
    if (strlen(head) > 25)
        fprintf(out, "\n  %-26s", "");
    while (line) {
        const char *end = strchr(line, '\n');
        int len = end ? (int)(end - line) : (int)strlen(line);

        fprintf(out, " %.*s\n", len, line);
        line = end ? end + 1 : NULL;
        if (line)
            fprintf(out, "  %-26s", "");
    }
}

void option_print_help(const struct option_table *table, FILE *out)
{
    fprintf(out, "%s\noptions:\n", table->intro);
    for (unsigned i = 0; i < table->count; i++)
        help_print_option(out, &table->options[i]);
    fprintf(out, "  -h, --help                 this text\n\n%s", table->outro);
}
