/* The verb `ringvm run`. */
#pragma once
#include "vmm/status.h"

/* argv[0] is the verb. Prints the one line of an error on stderr. Main thread, which becomes the
 * executor's. */
enum exit_status run(int argc, char **argv);
