/*
 * SVG documents, written as a stream. The caller closes what it opens; text is escaped. Errors stay
 * in the stream, for whoever closes it. No fonts but those that the viewer has.
 */
#pragma once
#include <stdio.h>

#include "base/compiler.h"

/* `title` is what a screen reader says; `style` a style sheet without a "<". */
void svg_begin(FILE *out, double width, double height, const char *title, const char *style);
void svg_end(FILE *out);

/* Character data: what XML does not allow in it is left out. */
void svg_escape(FILE *out, const char *text);
/* One line of text at its baseline; `classes` as in HTML. */
void svg_text(FILE *out, double x, double y, const char *classes, const char *format, ...)
    printf_like(5, 6);
void svg_line(FILE *out, double x1, double y1, double x2, double y2, const char *classes);
void svg_dot(FILE *out, double x, double y, double radius, const char *classes);
