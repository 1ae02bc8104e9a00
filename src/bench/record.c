#include "bench/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool record_is(const char *line, const char *word)
{
    size_t len = strlen(word);

    return !strncmp(line, word, len) && (line[len] == ' ' || line[len] == '\0');
}

/* A number that ends at a blank or at the end of the line, which *text moves to. */
static int number_take(const char **text, uint64_t *value)
{
    char *end;

    if (**text < '0' || **text > '9')
        return -EINVAL;
    errno = 0;
    *value = strtoull(*text, &end, 10);
    if (errno || (*end && *end != ' '))
        return -EINVAL;
    *text = end;
    return 0;
}

int record_number(const char *line, const char *name, uint64_t *value)
{
    size_t len = strlen(name);

    for (const char *word = strchr(line, ' '); word; word = strchr(word, ' ')) {
        word++;
        if (strncmp(word, name, len) || word[len] != '=')
            continue;
        word += len + 1;
        return number_take(&word, value);
    }
    return -ENOENT;
}

int record_bucket(const char *line, uint64_t *ns, uint64_t *count)
{
    const char *text = line + 2;

    if (!record_is(line, "h") || !line[1] || number_take(&text, ns) || *text++ != ' ' ||
        number_take(&text, count) || *text)
        return -EINVAL;
    return 0;
}
