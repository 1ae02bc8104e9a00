/*
 * SIGINT, SIGTERM, SIGPWR and SIGUSR1 as events of the executor. The signals are blocked for the
 * whole process, so that threads made later inherit that and only this task sees them.
 *
 *     signals_create -> signals_start -> executor_run: received() ... signals_stop ->
 * signals_destroy
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "exec/executor.h"

struct signals;

/* Blocks the signals; before other threads start. The caller owns *out. -EMFILE, -ENOMEM, ... */
must_check int signals_create(struct signals **out, struct err *err);
/* Not between signals_start and the return of executor_run. NULL is allowed. */
void signals_destroy(struct signals *signals);

/* Spawns the task that calls `received` for each signal. Before the executor runs. */
void signals_start(struct signals *signals, struct executor *executor,
                   void (*received)(void *arg, int signal_number), void *arg);
/* The task will end. Executor thread. */
void signals_stop(struct signals *signals);
