/* What the programs of this folder have in common: numbers to compute with, comparisons, a thread pool of one thread that pretends
   to be several. Each program computes its expectation by loops of its own, in double. */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 88172645463325252u;

/* A number in -1..1 (xorshift64, Marsaglia 2003). */
static inline double number(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (double)(seed >> 11) / 4503599627370496.0 - 1.0;
}

static inline float *numbers(int64_t count) {
    float *values = malloc((size_t)(count > 0 ? count : 1) * sizeof(float));
    for (int64_t i = 0; i < count; i++) values[i] = (float)number();
    return values;
}

/* Room that holds no number, so that what is not written shows. */
static inline float *nothing(int64_t count) {
    float *values = malloc((size_t)(count > 0 ? count : 1) * sizeof(float));
    for (int64_t i = 0; i < count; i++) values[i] = NAN;
    return values;
}

static int failures = 0;

static inline void close_to(const char *what, int64_t at, double got, double want, double tolerance) {
    if (fabs(got - want) <= tolerance) return;
    if (failures++ < 10) printf("%s[%lld] is %.9g, not %.9g\n", what, (long long)at, got, want);
}

static inline void status_is(const char *what, int32_t got, int32_t want) {
    if (got == want) return;
    failures++;
    printf("%s returned %d, not %d\n", what, (int)got, (int)want);
}

/* Runs the items from the last to the first, each as another worker. */
static inline int32_t backwards(void *context, int64_t items, void (*work)(void *, int64_t, int64_t), void *task) {
    int64_t workers = *(int64_t *)context;
    for (int64_t item = items - 1; item >= 0; item--) work(task, item % workers, item);
    return 0;
}

static inline int32_t refuse(void *context, int64_t items, void (*work)(void *, int64_t, int64_t), void *task) {
    (void)context, (void)items, (void)work, (void)task;
    return 7;
}

static inline int finish(void) {
    printf(failures ? "%d failures\n" : "right\n", failures);
    return failures != 0;
}

#endif
