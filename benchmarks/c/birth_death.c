#define N_SPECIES 1
#include "simulator.h"

ENSEMBLE {
    EACH_TRAJECTORY {
        START;
        double x = INITIAL_X;
        for (;;) {
            double total = 10.0 + 0.1 * x;
            time += exponential(&s) / total;
            RECORD_UNTIL(row[0] = (int64_t)x)
            x += uniform(&s) * total < 10.0 ? 1.0 : -1.0;
            n_events++;
        }
    done:;
    }
    return n_events;
}
