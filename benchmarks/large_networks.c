/* Exact simulation of mass-action networks from tables: the reference of large_networks.py.
 *
 *   large_networks TABLES ALGORITHM END SEED
 *
 * TABLES is what large_networks.py writes. ALGORITHM: linear (the direct method with a search from
 * the first reaction on), tree (an 8-ary tree of sums), rejection (composition and rejection: Slepoy,
 * Thompson and Plimpton 2008). Prints the number of events and the processor time of one, in ns,
 * reading and setting up not counted. Totals and sums of groups are kept by adding differences, and
 * made afresh every 2^20 events.
 */
#define _POSIX_C_SOURCE 199309L
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t n_states, n;
static double *coefficient, *shift, *a;
static int64_t *state;
static int32_t *first, *second, *change_start, *change_species, *change;
static int32_t *part_start, *part, *dependent_start, *dependent;
static uint64_t s[4];

static inline uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
static inline double uniform(void) { /* xoshiro256++, Blackman and Vigna (2021) */
  uint64_t r = rotl(s[0] + s[3], 23) + s[0], t = s[1] << 17;
  s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]; s[2] ^= t; s[3] = rotl(s[3], 45);
  return (double)(r >> 11) * 0x1p-53;
}

static void *take(FILE *file, size_t size) {
  int64_t length;
  if (fread(&length, 8, 1, file) != 1) exit(2);
  void *data = aligned_alloc(64, (length * size + 127) / 64 * 64);
  if (fread(data, size, length, file) != (size_t)length) exit(2);
  return data;
}

static inline double propensity(int32_t j) {
  return coefficient[j] * (double)state[first[j]] * ((double)state[second[j]] - shift[j]);
}

/* linear */
static double total;

/* tree: node 0 is the root, the children of q are 8 q + 1 ... 8 q + 8 */
static double *tree;
static int64_t leaf;
static void make_tree(void) {
  int64_t width = 8;
  for (leaf = 1; width < n; width *= 8) leaf += width;
  tree = calloc(8 * leaf + 9, sizeof(double));
}
static inline void add_up(int64_t q) {
  double *c = tree + 8 * q + 1;
  tree[q] = ((c[0] + c[4]) + (c[2] + c[6])) + ((c[1] + c[5]) + (c[3] + c[7]));
}

/* rejection: group g holds the propensities in [2^(g - BIAS), 2^(g - BIAS + 1)) */
enum { GROUPS = 256, BIAS = 128 };
static int32_t *member[GROUPS], size[GROUPS], room[GROUPS], *place;
static int16_t *group_of;
static double sum[GROUPS];
static int lowest = GROUPS, highest = -1;
static inline int group_number(double value) {
  uint64_t bits;
  memcpy(&bits, &value, 8);
  int g = (int)(bits >> 52) - 1023 + BIAS;
  return value == 0.0 ? -1 : g < 0 ? 0 : g >= GROUPS ? GROUPS - 1 : g;
}
static inline void move(int32_t j, double value) {
  int old = group_of[j], g = group_number(value);
  if (old != g) {
    if (old >= 0) {
      int32_t last = member[old][--size[old]];
      member[old][place[j]] = last;
      place[last] = place[j];
      sum[old] = size[old] ? sum[old] - a[j] : 0.0;
    }
    if (g >= 0) {
      if (size[g] == room[g]) {
        room[g] = room[g] ? 2 * room[g] : 64;
        member[g] = realloc(member[g], room[g] * sizeof(int32_t));
      }
      place[j] = size[g];
      member[g][size[g]++] = j;
      sum[g] += value;
      if (g < lowest) lowest = g;
      if (g > highest) highest = g;
    }
    group_of[j] = g;
  } else if (g >= 0)
    sum[g] += value - a[j];
  a[j] = value;
}

int main(int argc, char **argv) {
  if (argc != 5) return 1;
  FILE *file = fopen(argv[1], "rb");
  if (!file || fread(&n_states, 8, 1, file) != 1 || fread(&n, 8, 1, file) != 1) return 2;
  state = take(file, 8);
  coefficient = take(file, 8); shift = take(file, 8);
  first = take(file, 4); second = take(file, 4);
  change_start = take(file, 4); change_species = take(file, 4); change = take(file, 4);
  part_start = take(file, 4); part = take(file, 4);
  dependent_start = take(file, 4); dependent = take(file, 4);
  fclose(file);
  const int is_tree = !strcmp(argv[2], "tree"), is_rejection = !strcmp(argv[2], "rejection");
  const double end = atof(argv[3]);
  uint64_t seed = strtoull(argv[4], NULL, 10) * 0x9E3779B97F4A7C15u;
  for (int i = 0; i < 4; i++) {
    seed += 0x9E3779B97F4A7C15u;
    s[i] = seed ^ (seed >> 29);
  }
  for (int i = 0; i < 20; i++) uniform();
  a = calloc(n, sizeof(double));
  if (is_tree) make_tree();
  if (is_rejection) {
    place = calloc(n, sizeof(int32_t));
    group_of = malloc(n * sizeof(int16_t));
    for (int64_t j = 0; j < n; j++) group_of[j] = -1;
  }
  struct timespec t0, t1;
  double now = 0.0;
  int64_t events = 0;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
  for (;;) {
    if ((events & 0xFFFFF) == 0) { /* everything afresh, the first time as well */
      total = 0.0;
      for (int32_t j = 0; j < n; j++) {
        double value = propensity(j);
        if (is_rejection) move(j, value);
        else if (is_tree) tree[leaf + j] = value;
        else { a[j] = value; total += value; }
      }
      if (is_tree) for (int64_t q = leaf - 1; q >= 0; q--) add_up(q);
      if (is_rejection)
        for (int g = 0; g < GROUPS; g++) {
          sum[g] = 0.0;
          for (int32_t k = 0; k < size[g]; k++) sum[g] += a[member[g][k]];
        }
    }
    if (is_tree) total = tree[0];
    if (is_rejection) {
      total = 0.0;
      for (int g = lowest; g <= highest; g++) total += sum[g];
    }
    if (!(total > 0.0)) break;
    now -= log1p(-uniform()) / total;
    if (now > end) break;
    double target = uniform() * total;
    int32_t j = 0;
    if (is_tree) {
      int64_t q = 0;
      while (q < leaf) {
        int64_t c = 8 * q + 1, last = c + 7;
        while (c < last && target >= tree[c]) target -= tree[c++];
        while (tree[c] == 0.0) c--;
        q = c;
      }
      j = (int32_t)(q - leaf);
    } else if (is_rejection) {
      int g = highest;
      while (g > lowest && target >= sum[g]) target -= sum[g--];
      while (!size[g]) g++;
      const double bound = ldexp(1.0, g - BIAS + 1);
      do {
        double u = uniform() * size[g];
        int32_t k = (int32_t)u;
        j = member[g][k];
        if ((u - k) * bound < a[j]) break;
      } while (1);
    } else {
      while (j < n - 1 && target >= a[j]) target -= a[j++];
      while (a[j] == 0.0) j--;
    }
    for (int32_t k = change_start[j]; k < change_start[j + 1]; k++)
      state[change_species[k]] += change[k];
    for (int32_t i = part_start[j]; i < part_start[j + 1]; i++)
      for (int32_t k = dependent_start[part[i]]; k < dependent_start[part[i] + 1]; k++) {
        int32_t d = dependent[k];
        double value = propensity(d);
        if (is_tree) {
          if (value == tree[leaf + d]) continue;
          tree[leaf + d] = value;
          for (int64_t q = (leaf + d - 1) >> 3;; q = (q - 1) >> 3) {
            add_up(q);
            if (!q) break;
          }
        } else if (is_rejection) {
          if (value != a[d]) move(d, value);
        } else {
          total += value - a[d];
          a[d] = value;
        }
      }
    events++;
  }
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
  double ns = 1e9 * (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec);
  printf("%lld %.3f\n", (long long)events, ns / (events ? (double)events : 1.0));
  return 0;
}
