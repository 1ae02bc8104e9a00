/*
 * The executor's sleep and wake-up, src/exec/inbox.c, over all interleavings. Memory is sequentially
 * consistent here, as the protocol's seq_cst accesses are; what weaker orders would do is for the
 * schedule explorer.
 * It ends when it was asked to stop and everything has run.
 *
 * With -DMUTANT=n one step is left out or out of order, and the check has to fail:
 *     1   the executor does not look again after it said that it is going to sleep
 *     2   the poster looks at the state before it pushes
 *     3   nobody writes to the eventfd
 *     4   the executor says that it waits after its second look
 *     5   a stop is not looked for before sleeping
 */
#ifndef MUTANT
#define MUTANT 0
#endif
#define POSTERS 2
#define POSTS   2 /* of each poster */

mtype = { PROCESSING, WAITING, WOKEN };

byte inbox = 0;          /* tasks pushed and not drained */
mtype state = PROCESSING;
bool stop = false;
byte fd = 0;             /* wake-ups that the ring has not reported yet */
byte pushed = 0, ran = 0;
bool ended = false;

inline alert(seen)
{
    if
    :: seen == WAITING ->
        /* One of several pays for the system call. */
        bool won;
        atomic { won = (state == WAITING); if :: won -> state = WOKEN :: else fi }
        if
#if MUTANT != 3
        :: won -> fd++
#endif
        :: else
        fi
    :: else
    fi
}

proctype poster()
{
    byte n = 0;
    mtype seen;

    do
    :: n < POSTS ->
#if MUTANT == 2
        seen = state;
        atomic { inbox++; pushed++ }
#else
        atomic { inbox++; pushed++ }
        seen = state;
#endif
        alert(seen);
        n++
    :: else -> break
    od
}

/* Stops at any time, or when all has run: then it is not what wakes the executor for a post. */
proctype stopper()
{
    mtype seen;
    bool patient;

    if
    :: patient = true
    :: patient = false
    fi;
    !patient || ran == POSTERS * POSTS;
    stop = true;
    seen = state;
    alert(seen)
}

proctype executor()
{
    byte taken;
    bool found;

    do
    :: atomic { taken = inbox; inbox = 0; ran = ran + taken }
        if
        :: stop && ran == POSTERS * POSTS -> break
        :: else
        fi;
        if
        :: taken > 0 -> skip
        :: else ->
#if MUTANT == 1
            state = WAITING;
            found = false;
#elif MUTANT == 4
            found = (inbox > 0);
            found = found || stop;
            state = WAITING;
#elif MUTANT == 5
            state = WAITING;
            found = (inbox > 0);
#else
            state = WAITING;
            found = (inbox > 0);
            found = found || stop;
#endif
            if
            :: found
            :: else -> atomic { fd > 0; fd = 0 } /* sleeps; learns of all wake-ups so far */
            fi;
            state = PROCESSING
        fi
    od;
    ended = true
}

init {
    byte i = 0;

    atomic {
        run executor();
        do
        :: i < POSTERS -> run poster(); i++
        :: else -> break
        od;
        run stopper()
    }
}

/* Nothing that was posted stays undone: with weak fairness, whatever the schedule. */
ltl all_is_done { <> (ended && ran == pushed && pushed == POSTERS * POSTS) }
