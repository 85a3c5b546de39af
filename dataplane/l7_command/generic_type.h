/* The names that TYPE and SCAN's TYPE give to the types of values. */
#ifndef NICACHED_L7_COMMAND_GENERIC_TYPE_H
#define NICACHED_L7_COMMAND_GENERIC_TYPE_H

#include "dataplane/store/item.h"

const char *generic_type_name(const struct item *item);

#endif
