/* A failing run as a person wants to read it, and as a seed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "explore.h"
#include "location.h"
#include "search.h"

enum { LINE_MAX_LEN = 200 };

static const char *order_name(const struct step *step)
{
    static const char *const names[] = {
        [__ATOMIC_RELAXED] = "relaxed", [__ATOMIC_CONSUME] = "consume",
        [__ATOMIC_ACQUIRE] = "acquire", [__ATOMIC_RELEASE] = "release",
        [__ATOMIC_ACQ_REL] = "acq_rel", [__ATOMIC_SEQ_CST] = "seq_cst",
    };

    return names[step->order];
}

/* ---- seeds ---- */

/*
 * Of each step of the run in order: the thread, as a letter, and unless it is 0 a number. Of a read
 * and a write: how many of the writes before it are newer; of a choice: what was chosen.
 */
static unsigned step_number(unsigned position)
{
    const struct graph *graph = &explorer.graph;
    unsigned event = explorer.trace[position];
    const struct step *step = &graph->steps[event];
    unsigned newer = 0;

    if (step->kind == EVENT_CHOICE)
        return step->source;
    if (step->kind == EVENT_FENCE)
        return 0;
    for (unsigned i = 0; i < position; i++) {
        const struct step *other = &graph->steps[explorer.trace[i]];

        newer += other->kind == EVENT_WRITE && other->location == step->location &&
                 other->rank > graph_rank(graph, event);
    }
    return newer;
}

const char *seed_write(void)
{
    static char seed[GRAPH_EVENTS * 4];
    size_t length = 0;

    for (unsigned i = 0; i < explorer.trace_count; i++) {
        unsigned number = step_number(i);

        seed[length++] = (char)('a' + explorer.graph.steps[explorer.trace[i]].thread);
        if (number)
            length += (size_t)snprintf(seed + length, sizeof(seed) - length, "%u", number);
    }
    seed[length] = 0;
    return seed;
}

bool seed_read(const char *text, struct seed *seed)
{
    seed->count = 0;
    while (*text) {
        struct seed_step *step = &seed->steps[seed->count++];

        if (*text < 'a' || *text >= 'a' + GRAPH_THREADS || seed->count == GRAPH_EVENTS)
            return false;
        step->thread = (uint8_t)(*text++ - 'a');
        step->number = 0;
        while (*text >= '0' && *text <= '9')
            step->number = (uint16_t)(step->number * 10 + (*text++ - '0'));
    }
    return true;
}

/* ---- traces ---- */

/* Asks addr2line, once for all: `lines` are "function file:line". */
static void find_lines(char (*lines)[LINE_MAX_LEN])
{
    char command[GRAPH_EVENTS * 20 + 64];
    size_t length =
        (size_t)snprintf(command, sizeof(command), "addr2line -f -e /proc/%d/exe", (int)getpid());
    FILE *pipe;

    for (unsigned i = 0; i < explorer.trace_count; i++)
        length += (size_t)snprintf(
            command + length, sizeof(command) - length, " %lx",
            (unsigned long)(uintptr_t)explorer.graph.facts[explorer.trace[i]].pc - 1);
    pipe = popen(command, "r");
    for (unsigned i = 0; i < explorer.trace_count; i++) {
        char function[LINE_MAX_LEN] = "?", file[LINE_MAX_LEN] = "?";
        const char *name;

        lines[i][0] = 0;
        if (!pipe || !fgets(function, sizeof(function), pipe) || !fgets(file, sizeof(file), pipe))
            continue;
        function[strcspn(function, "\n")] = 0;
        file[strcspn(file, " \n")] = 0;
        name = strstr(file, "src/");
        if (!name)
            name = strstr(file, "tests/model/");
        snprintf(lines[i], LINE_MAX_LEN, "%.60s %.100s", name ? name : file, function);
    }
    if (pipe)
        pclose(pipe);
}

static void print_step(unsigned position, const char *line)
{
    const struct graph *graph = &explorer.graph;
    unsigned event = explorer.trace[position];
    const struct step *step = &graph->steps[event];
    const struct fact *fact = &graph->facts[event];
    unsigned number = step_number(position);
    char where[96] = "", text[192];

    if (step->location != NO_LOCATION)
        location_describe(step->location, where, sizeof(where));
    switch (step->kind) {
    case EVENT_READ:
        snprintf(text, sizeof(text), "%s %s -> %" PRIx64, step->exclusive ? "modify" : "read  ",
                 where, fact->value);
        break;
    case EVENT_WRITE:
        snprintf(text, sizeof(text), "%s %s = %" PRIx64, step->exclusive ? "   ..." : "write ",
                 where, fact->value);
        break;
    case EVENT_FENCE:
        snprintf(text, sizeof(text), "fence");
        break;
    default:
        snprintf(text, sizeof(text), "choose %u", step->source);
    }
    if (number && step->kind == EVENT_READ)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), " (%u older)", number);
    else if (number && step->kind == EVENT_WRITE)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), " (before %u others)", number);
    printf("    %3u %-12s %-44s %-8s %s\n", position + 1, explorer.threads[step->thread].name, text,
           step->kind == EVENT_CHOICE ? "" : order_name(step), line);
}

void report_failure(void)
{
    static char lines[GRAPH_EVENTS][LINE_MAX_LEN];

    find_lines(lines);
    printf("    values are hexadecimal\n");
    for (unsigned i = 0; i < explorer.trace_count; i++)
        print_step(i, lines[i]);
    printf("    %s\n", explorer.failure);
}

const char *failure_text(void)
{
    return explorer.failure;
}
