/*
 * A network of our own for the guest: a tap in a network namespace that nobody else is in, and a
 * peer behind it, a thread that does what the guest's frames say. See bench/guest/net.c.
 */
#pragma once
#include <pthread.h>

#include "base/compiler.h"
#include "base/err.h"

struct net_link {
    int tap_fd; /* inherited by children */
    int socket;
    int stop_fd;
    pthread_t peer;
};

/*
 * The process has no other network from now on. 0, or a negative errno with a line that says what
 * is not permitted. Before there are other threads.
 */
must_check int net_link_create(struct net_link *link, struct err *err);
void net_link_destroy(struct net_link *link);
