// A library that is not where the loader looks.
#include "tests/cluster/picky.h"

int PickyNumber() { return 1; }
