/*
** random.h -- random numbers for tests; a test prints the seed that it failed with.
*/
#ifndef T_RANDOM_H
#define T_RANDOM_H

#include <stdint.h>

uint64_t t_random(uint64_t *state); /* splitmix64 */

#endif
