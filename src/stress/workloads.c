#include <stddef.h>

#include "stress/workload.h"

const struct workload *const workloads[] = {
    &workload_mutex,         &workload_rwlock,
    &workload_cond,          &workload_semaphore,
    &workload_channel,       &workload_event,
    &workload_notify,        &workload_barrier,
    &workload_once,          &workload_wait_group,
    &workload_pthread_mutex, &workload_pthread_rwlock,
    &workload_pthread_cond,  NULL,
};
