#include "cmdline.h"

#include <stddef.h>

static const char *line;

static bool is_end(char c)
{
    return c == '\0' || c == ' ';
}

void cmdline_init(const char *cmdline)
{
    line = cmdline;
}

const char *cmdline_find(const char *name)
{
    return cmdline_find_next(name, NULL);
}

const char *cmdline_find_next(const char *name, const char *after)
{
    for (const char *word = after ? after : line; *word; word++) {
        const char *at = word, *wanted = name;

        if (word != line && word[-1] != ' ')
            continue;
        while (*wanted && *at == *wanted) {
            at++;
            wanted++;
        }
        if (!*wanted && *at == '=')
            return at + 1;
    }
    return NULL;
}

bool cmdline_is(const char *text, const char *word)
{
    while (*word && *text == *word) {
        text++;
        word++;
    }
    return !*word && is_end(*text);
}

static int digit(char c, unsigned base)
{
    int value = -1;

    if (c >= '0' && c <= '9')
        value = c - '0';
    else if (c >= 'a' && c <= 'f')
        value = c - 'a' + 10;
    return value < (int)base ? value : -1;
}

uint64_t cmdline_parse(const char **text)
{
    unsigned base = 10;
    uint64_t value = 0;

    if ((*text)[0] == '0' && (*text)[1] == 'x') {
        base = 16;
        *text += 2;
    }
    for (; digit(**text, base) >= 0; (*text)++)
        value = value * base + (unsigned)digit(**text, base);
    return value;
}

uint64_t cmdline_number(const char *name, uint64_t otherwise)
{
    const char *text = cmdline_find(name);

    return text ? cmdline_parse(&text) : otherwise;
}

void cmdline_list(struct cmdline_list *list, const char *name, uint64_t otherwise)
{
    const char *text = cmdline_find(name);

    *list = (struct cmdline_list){.values = {otherwise}, .count = 1};
    if (!text)
        return;
    for (list->count = 0; list->count < CMDLINE_LIST_MAX;) {
        list->values[list->count++] = cmdline_parse(&text);
        if (*text++ != ',')
            return;
    }
}
