// A library that is not where the loader looks.
#ifndef MILLRACE_TESTS_CLUSTER_PICKY_H_
#define MILLRACE_TESTS_CLUSTER_PICKY_H_

int PickyNumber();

#endif  // MILLRACE_TESTS_CLUSTER_PICKY_H_
