#include "console.h"

#include "arch.h"

enum { DIGIT_COUNT_MAX = 20 };

static void text_put(const char *text)
{
    while (*text)
        console_put(*text++);
}

static void number_put(uint64_t value)
{
    char digits[DIGIT_COUNT_MAX + 1] = "";
    unsigned at = DIGIT_COUNT_MAX;

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    text_put(digits + at);
}

void console_begin(const char *words)
{
    text_put(words);
}

void console_number(uint64_t value)
{
    console_put(' ');
    number_put(value);
}

void console_field(const char *name, uint64_t value)
{
    console_put(' ');
    text_put(name);
    console_put('=');
    number_put(value);
}

void console_end(void)
{
    console_put('\n');
}
