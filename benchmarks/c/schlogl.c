#define N_SPECIES 1
#include "simulator.h"

ENSEMBLE {
    EACH_TRAJECTORY {
        START;
        double x = INITIAL_X;
        for (;;) {
            double pairs = x * (x - 1.0);
            /* The two that add one molecule, then the two that take one. */
            double up = PARAMETER_feed + 0.015 * pairs;
            double total = up + (3.5 * x + (1e-4 / 6.0) * pairs * (x - 2.0));
            time += exponential(&s) / total;
            RECORD_UNTIL(row[0] = (int64_t)x)
            x += uniform(&s) * total < up ? 1.0 : -1.0;
            n_events++;
        }
    done:;
    }
    return n_events;
}
