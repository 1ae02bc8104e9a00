/* Memory: what the compiler wants to call, and RAM beyond the payload. */
#pragma once
#include <stddef.h>
#include <stdint.h>

void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);
int memcmp(const void *left, const void *right, size_t size);

/* From the end of the payload to `end`. */
void memory_init(uint64_t end);
/* Zeroed; ends the run, with an error line, when there is not so much. Aligned to 4096 bytes. */
void *memory_alloc(uint64_t size);
/* All that was allocated is free again. */
void memory_free_all(void);
