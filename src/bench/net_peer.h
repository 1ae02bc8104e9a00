/* What is at the other end of the bench guest's network: see bench/guest/net.c. */
#pragma once
#include <arpa/inet.h>

/* In network order: for local experiments (IEEE 802). */
#define NET_PEER_PROTOCOL htons(0x88b5)

/*
 * Serves the frames that come to a packet socket: echoes them, floods for a while, or ignores them.
 * Returns when `stop_fd` becomes readable, or the socket fails. Any thread.
 */
void net_peer_serve(int socket, int stop_fd);
