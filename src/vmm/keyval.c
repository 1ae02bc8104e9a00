#include "vmm/keyval.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"

bool keyval_next(char **rest, struct keyval *entry)
{
    char *at = *rest;

    if (!at)
        return false;
    *rest = strchr(at, ',');
    if (*rest)
        *(*rest)++ = '\0';
    entry->key = at;
    entry->value = strchr(at, '=');
    if (entry->value)
        *entry->value++ = '\0';
    return true;
}

/* Starts with a digit: strtoull alone would take signs and blanks. */
static int parse_digits(const char *text, const char **end, uint64_t *value)
{
    char *after;

    if (!text || *text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    *value = strtoull(text, &after, 0);
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
    char list[256] = "";
    size_t len = 0;

    for (unsigned i = 0; i < name_count; i++) {
        if (text && !strcmp(text, names[i])) {
            *choice = i;
            return 0;
        }
        if (len < sizeof(list))
            len +=
                (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "", names[i]);
    }
    return err_set(err, -EINVAL, "%s: '%s' is not one of %s", what, text ? text : "", list);
}
