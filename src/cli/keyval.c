#include "cli/keyval.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/clock.h"
#include "base/compiler.h"

/* "path, ro, root" */
static void names_join(const char *const *names, unsigned count, char *text, size_t size)
{
    size_t len = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < count && len < size; i++)
        len += (size_t)snprintf(text + len, size - len, "%s%s", i ? ", " : "", names[i]);
}

int keyval_next(struct keyval_list *list, unsigned *key, char **value, struct err *err)
{
    char known[256];
    char *name = list->rest;

    if (!name)
        return 0;
    list->rest = strchr(name, ',');
    if (list->rest)
        *list->rest++ = '\0';
    *value = strchr(name, '=');
    if (*value)
        *(*value)++ = '\0';
    for (*key = 0; *key < list->name_count; ++*key)
        if (!strcmp(name, list->names[*key]))
            break;
    if (*key == list->name_count) {
        names_join(list->names, list->name_count, known, sizeof(known));
        return err_set(err, -EINVAL, "%s: unknown key '%s'; known are %s", list->option, name,
                       known);
    }
    if (list->seen >> *key & 1)
        return err_set(err, -EINVAL, "%s: %s is given twice", list->option, name);
    list->seen |= 1U << *key;
    return 1;
}

/* Starts with a digit: strtoull alone would take signs and blanks. */
static int parse_digits(const char *text, const char **end, uint64_t *value)
{
    char *after;

    if (!text || *text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    *value = strtoull(text, &after, text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
    *end = after;
    return -errno;
}

int keyval_u64(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *value,
               struct err *err)
{
    const char *end;
    int ret = parse_digits(text, &end, value);

    if (ret == -EINVAL || (!ret && *end))
        return err_set(err, -EINVAL, "%s: '%s' is not a number", what, text ? text : "");
    if (ret || *value < min || *value > max)
        return err_set(err, -ERANGE, "%s: %s is out of range, it must be %llu to %llu", what, text,
                       (unsigned long long)min, (unsigned long long)max);
    return 0;
}

int keyval_text(const char *what, const char *text, const char **value, struct err *err)
{
    *value = text;
    return text && *text ? 0 : err_set(err, -EINVAL, "%s needs a value", what);
}

int keyval_bool(const char *what, const char *text, bool *value, struct err *err)
{
    if (!text || !strcmp(text, "true")) {
        *value = true;
        return 0;
    }
    if (!strcmp(text, "false")) {
        *value = false;
        return 0;
    }
    return err_set(err, -EINVAL, "%s: '%s' is neither true nor false", what, text);
}

int keyval_mem_size(const char *what, const char *text, uint64_t *bytes, struct err *err)
{
    static const char suffixes[] = "KMG";
    const char *end, *suffix;
    uint64_t number, unit = 1ULL << 20;
    int ret = parse_digits(text, &end, &number);

    if (!ret && *end) {
        suffix = strchr(suffixes, *end);
        if (!suffix || end[1])
            ret = -EINVAL;
        else
            unit = 1024ULL << (10 * (suffix - suffixes));
    }
    if (ret == -EINVAL)
        return err_set(err, -EINVAL,
                       "%s: '%s' is not a size; write MiB, or a number with K, M or G", what,
                       text ? text : "");
    if (ret || !u64_mul(number, unit, bytes))
        return err_set(err, -ERANGE, "%s: %s is too large", what, text);
    return 0;
}

static const struct time_unit {
    const char *name;
    uint64_t ns;
} time_units[] = {
    {"ns", 1},       {"us", NS_PER_US},      {"ms", NS_PER_MS},
    {"s", NS_PER_S}, {"min", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
};

static const struct time_unit *time_unit_find(const char *name)
{
    for (size_t i = 0; i < array_count(time_units); i++)
        if (!strcmp(name, time_units[i].name))
            return &time_units[i];
    return NULL;
}

/* "1500 ns", in the largest unit that leaves no rest. */
static const struct time_unit *time_unit_of(uint64_t ns)
{
    const struct time_unit *unit = &time_units[0];

    for (size_t i = 0; ns && i < array_count(time_units); i++)
        if (ns % time_units[i].ns == 0)
            unit = &time_units[i];
    return unit;
}

int keyval_duration(const char *what, const char *text, uint64_t min_ns, uint64_t max_ns,
                    uint64_t *duration_ns, struct err *err)
{
    const struct time_unit *unit, *min_unit = time_unit_of(min_ns),
                                  *max_unit = time_unit_of(max_ns);
    const char *end = "";
    uint64_t number;
    int ret = parse_digits(text, &end, &number);

    unit = time_unit_find(end);
    if (ret == -EINVAL || !unit)
        return err_set(err, -EINVAL,
                       "%s: '%s' is not a time; write a number and ns, us, ms, s, min or h", what,
                       text ? text : "");
    if (ret || !u64_mul(number, unit->ns, duration_ns) || *duration_ns < min_ns ||
        *duration_ns > max_ns)
        return err_set(err, -ERANGE, "%s: %s is out of range, it must be %llu%s to %llu%s", what,
                       text, (unsigned long long)(min_ns / min_unit->ns), min_unit->name,
                       (unsigned long long)(max_ns / max_unit->ns), max_unit->name);
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
    if (!text || strlen(text) != 17)
        return false;
    for (int i = 0; i < 6; i++, text += 3) {
        int high = hex_digit(text[0]), low = hex_digit(text[1]);

        if (high < 0 || low < 0 || text[2] != (i < 5 ? ':' : '\0'))
            return false;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

int keyval_mac(const char *what, const char *text, uint8_t mac[6], struct err *err)
{
    static const uint8_t zero[6];

    if (!parse_mac(text, mac))
        return err_set(err, -EINVAL, "%s: '%s' is not a MAC address like 52:54:00:12:34:56", what,
                       text ? text : "");
    if (mac[0] & 1 || !memcmp(mac, zero, sizeof(zero)))
        return err_set(err, -EINVAL, "%s: %s is not a unicast address", what, text);
    return 0;
}

int keyval_choice(const char *what, const char *text, const char *const *names, unsigned name_count,
                  unsigned *choice, struct err *err)
{
    char known[256];

    for (*choice = 0; *choice < name_count; ++*choice)
        if (text && !strcmp(text, names[*choice]))
            return 0;
    names_join(names, name_count, known, sizeof(known));
    return err_set(err, -EINVAL, "%s: '%s' is not one of %s", what, text ? text : "", known);
}
