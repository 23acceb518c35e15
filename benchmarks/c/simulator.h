/* What all references share: the random stream and the recording of sampling times.

   xoshiro256++: Blackman, Vigna (2021), ACM Trans. Math. Softw. 47, 36, doi:10.1145/3460772.
   Ziggurat: Marsaglia, Tsang (2000), J. Stat. Softw. 5(8), doi:10.18637/jss.v005.i08, with a layer
   from the 8 lowest bits of a word and a position in it from the 53 highest. */
#include <math.h>
#include <stdint.h>

typedef struct {
    uint64_t a, b, c, d;
} Stream;

#define INLINE static inline __attribute__((always_inline))

INLINE uint64_t rotated(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

INLINE uint64_t next_word(Stream *s) {
    uint64_t word = rotated(s->a + s->d, 23) + s->a, shifted = s->b << 17;
    s->c ^= s->a;
    s->d ^= s->b;
    s->b ^= s->c;
    s->a ^= s->d;
    s->c ^= shifted;
    s->d = rotated(s->d, 45);
    return word;
}

INLINE uint64_t split_mix(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

INLINE Stream stream_of(uint64_t seed, int64_t trajectory) {
    uint64_t state = seed;
    state = split_mix(&state) + (uint64_t)trajectory;
    state = split_mix(&state);
    Stream s = {split_mix(&state), split_mix(&state), split_mix(&state), split_mix(&state)};
    return s;
}

/* In [0, 1), a multiple of 2^-53. */
INLINE double uniform(Stream *s) { return (double)(int64_t)(next_word(s) >> 11) * 0x1p-53; }

/* Layer k of the ziggurat is width[k] 2^53 wide; its part below accepted[k] lies under the curve. */
static double width[256], height[256];
static uint64_t accepted[256];
static int tables_are_filled;

static void fill_tables(void) {
    if (tables_are_filled) return;
    const double r = 7.69711747013104972, area = 0.0039496598225815571993;
    double x = r, previous = r;
    double x_of[257];
    x_of[0] = area / exp(-r);
    x_of[1] = r;
    for (int k = 2; k < 256; k++) {
        x = -log(area / previous + exp(-previous));
        x_of[k] = x;
        previous = x;
    }
    x_of[256] = 0.0;
    for (int k = 0; k < 256; k++) {
        width[k] = x_of[k] * 0x1p-53;
        accepted[k] = (uint64_t)(x_of[k + 1] / x_of[k] * 0x1p53);
        height[k] = exp(-x_of[k]);
    }
    tables_are_filled = 1;
}

typedef struct {
    Stream stream;
    double value;
} Drawn;

/* The rare way out of the fast path, with the stream by value, so that it stays in registers. */
static __attribute__((noinline)) Drawn exponential_outside(Stream s, int layer, double x) {
    const double r = 7.69711747013104972;
    double shift = 0.0;
    for (;;) {
        if (layer == 0) {
            /* The tail is an exponential again. */
            shift += r;
        } else {
            double top = layer == 255 ? 1.0 : height[layer + 1];
            if (height[layer] + uniform(&s) * (top - height[layer]) < exp(-x)) break;
        }
        uint64_t word = next_word(&s);
        layer = (int)(word & 255);
        x = (double)(int64_t)(word >> 11) * width[layer];
        if ((word >> 11) < accepted[layer]) break;
    }
    Drawn drawn = {s, shift + x};
    return drawn;
}

/* Exponential with mean 1. */
INLINE double exponential(Stream *s) {
#ifdef USE_LOG
    return -log(1.0 - uniform(s));
#else
    uint64_t word = next_word(s);
    int layer = (int)(word & 255);
    double x = (double)(int64_t)(word >> 11) * width[layer];
    if (__builtin_expect((word >> 11) < accepted[layer], 1)) return x;
    Drawn drawn = exponential_outside(*s, layer, x);
    *s = drawn.stream;
    return drawn.value;
#endif
}

/* Loop over trajectories: `BODY` starts one at time 0 with the stream `s`. RECORD_UNTIL writes the
   state, by `WRITE(row)`, at each sampling time before `time`, and leaves the loop after the last. */
#define EACH_TRAJECTORY                                                                           \
    fill_tables();                                                                                \
    int64_t n_events = 0;                                                                         \
    for (int64_t trajectory = 0; trajectory < n; trajectory++)

#define START                                                                                     \
    Stream s = stream_of(seed, trajectory);                                                       \
    double time = 0.0, grid_time = 0.0;                                                           \
    int64_t n_recorded = 0;                                                                       \
    int64_t *row = counts + trajectory * n_times * N_SPECIES

#define RECORD_UNTIL(WRITE)                                                                       \
    while (__builtin_expect(time > grid_time, 0)) {                                               \
        WRITE;                                                                                    \
        row += N_SPECIES;                                                                         \
        if (++n_recorded == n_times) goto done;                                                   \
        grid_time = (double)n_recorded * step;                                                    \
    }

#define ENSEMBLE                                                                                  \
    int64_t ensemble(int64_t n, uint64_t seed, double step, int64_t n_times, int64_t *counts)
