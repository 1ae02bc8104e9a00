/*
 * What the payload says: lines of a word and fields, "word name=value name=value", on the first
 * serial port. A program reads them: see README.md.
 */
#pragma once
#include <stdint.h>

void console_begin(const char *words);
void console_field(const char *name, uint64_t value);
void console_number(uint64_t value);
void console_end(void);
