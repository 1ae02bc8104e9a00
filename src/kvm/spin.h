/*
 * Whether a vCPU should spin for its reply before it sleeps. A spin that is given up costs its time
 * twice, so the policy follows what spins gained lately: they stop after a few losses and are tried
 * again now and then.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { SPIN_LUCK_MAX = 8, SPIN_LOSS_COST = 3, SPIN_RETRY_INTERVAL = 32 };

struct spin {
    uint8_t luck;    /* private: up by wins, down by losses; no spin at 0 */
    uint8_t skipped; /* private: waits without a spin since luck ran out */
};

static inline void spin_init(struct spin *spin)
{
    *spin = (struct spin){.luck = SPIN_LUCK_MAX};
}

/* Call once for each wait. */
static inline bool spin_is_worth(struct spin *spin)
{
    if (spin->luck)
        return true;
    if (++spin->skipped < SPIN_RETRY_INTERVAL)
        return false;
    spin->skipped = 0;
    return true;
}

static inline void spin_won(struct spin *spin)
{
    if (spin->luck < SPIN_LUCK_MAX)
        spin->luck++;
}

static inline void spin_lost(struct spin *spin)
{
    spin->luck = spin->luck > SPIN_LOSS_COST ? (uint8_t)(spin->luck - SPIN_LOSS_COST) : 0;
}
