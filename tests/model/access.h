/* Steps of the kernel's part: see kernel.c. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* A relaxed read of 4 bytes. */
uint64_t access_read(const void *address, const void *pc);
/* A read-modify-write in two halves; between them the thread may do other steps. */
uint64_t access_begin_exclusive(const void *address, const void *pc);
void access_end_exclusive(const void *address, uint64_t value, const void *pc);
/* Waits until `is_ready(what is there, value)`. `is_timed`: waiting for ever is no failure. */
uint64_t access_wait(const void *address, bool (*is_ready)(uint64_t, uint64_t), uint64_t value,
                     bool is_timed, const void *pc);
/* The first half of a read-modify-write that waits. */
uint64_t access_wait_exclusive(const void *address, bool (*is_ready)(uint64_t, uint64_t),
                               bool is_timed, const void *pc);
