#include <stdio.h>
#include <string.h>

#include "explore.h"
#include "location.h"
#include "race.h"

enum { NAMES_MAX = 32 };

static struct location locations[GRAPH_LOCATIONS];
static unsigned location_count;
static uint16_t location_at[RACE_ARENA_SIZE]; /* its number + 1 */
static struct {
    const char *memory;
    size_t size;
    const char *name;
} names[NAMES_MAX];
static unsigned name_count;

void locations_forget(void)
{
    for (unsigned i = 0; i < location_count; i++)
        location_at[race_offset(locations[i].address)] = 0;
    location_count = 0;
}

void locations_begin_run(void)
{
    name_count = 0;
}

static uint64_t memory_read(const void *address, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, address, size);
    return value;
}

static uint16_t location_add(const void *address, unsigned size)
{
    REQUIRE(location_count < GRAPH_LOCATIONS, "too many atomic locations");
    locations[location_count] = (struct location){.address = address, .size = size};
    return (uint16_t)++location_count;
}

static struct location *location_find(const void *address, long offset, unsigned size)
{
    uint16_t *number = &location_at[offset];
    struct location *location;

    for (;; number = &location->next) {
        if (!*number)
            *number = location_add(address, size);
        location = &locations[*number - 1];
        if (location->ended_run != explorer.run)
            return location;
    }
}

struct location *location_of(const void *address, unsigned size)
{
    long offset = race_offset(address);
    struct location *location;

    if (offset < 0)
        return NULL;
    location = location_find(address, offset, size);
    if (location->is_hint)
        return NULL;
    REQUIRE(location->size == size, "atomic accesses of several sizes to one address");
    if (location->run != explorer.run) {
        location->run = explorer.run;
        location->initial = memory_read(address, size);
        location->memory_rank = 0;
    }
    return location;
}

uint16_t location_number(const struct location *location)
{
    return (uint16_t)(location - locations);
}

uint64_t location_initial(unsigned location)
{
    return locations[location].initial;
}

void location_written(unsigned number)
{
    const struct graph *graph = &explorer.graph;
    const struct step *step = &graph->steps[number];
    struct location *location = &locations[step->location];

    if (step->rank < location->memory_rank)
        return;
    location->memory_rank = step->rank;
    memcpy((void *)(uintptr_t)location->address, &graph->facts[number].value, location->size);
}

void locations_settle(void)
{
    for (unsigned i = 0; i < explorer.graph.location_count; i++) {
        const struct location_events *events = &explorer.graph.locations[i];

        if (events->write_count && locations[i].ended_run != explorer.run)
            memcpy((void *)(uintptr_t)locations[i].address,
                   &explorer.graph.facts[events->writes[events->write_count]].value,
                   locations[i].size);
    }
}

void location_overwritten(const void *address, size_t size)
{
    long offset = race_offset(address);

    if (explorer.current < 0 || offset < 0)
        return;
    for (size_t i = 0; i < size; i++) {
        uint16_t number = location_at[offset + (long)i];

        while (number) {
            struct location *location = &locations[number - 1];

            if (location->run == explorer.run && !location->is_hint)
                location->ended_run = explorer.run;
            number = location->next;
        }
    }
}

void model_name(const void *memory, size_t size, const char *name)
{
    REQUIRE(name_count < NAMES_MAX, "too many names");
    names[name_count].memory = memory;
    names[name_count].size = size;
    names[name_count++].name = name;
}

void model_hint(const void *atomic)
{
    uint16_t *number = &location_at[race_offset(atomic)];

    if (!*number)
        *number = location_add(atomic, 0);
    locations[*number - 1].is_hint = true;
}

void memory_describe(const void *memory, char *text, size_t size)
{
    const char *byte = memory;
    long offset = race_offset(memory);
    size_t state_size;

    /* The innermost name. */
    for (unsigned i = name_count; i-- > 0;) {
        size_t within = (size_t)(byte - names[i].memory);

        if (byte < names[i].memory || within >= names[i].size)
            continue;
        if (within)
            snprintf(text, size, "%s+%zu", names[i].name, within);
        else
            snprintf(text, size, "%s", names[i].name);
        return;
    }
    race_arena(&state_size);
    if (offset >= RACE_KERNEL_OFFSET)
        snprintf(text, size, "kernel+%ld", offset - RACE_KERNEL_OFFSET);
    else if (offset >= 0 && (size_t)offset < state_size)
        snprintf(text, size, "state+%ld", offset);
    else
        snprintf(text, size, "a stack+%ld", offset);
}

void location_describe(unsigned location, char *text, size_t size)
{
    memory_describe(locations[location].address, text, size);
}
