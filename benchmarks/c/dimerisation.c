#define N_SPECIES 2
#include "simulator.h"

ENSEMBLE {
    EACH_TRAJECTORY {
        START;
        double p = INITIAL_P, q = INITIAL_Q;
        for (;;) {
            double pair = 0.0005 * p * (p - 1.0), total = pair + 0.01 * q;
            time += exponential(&s) / total;
            RECORD_UNTIL((row[0] = (int64_t)p, row[1] = (int64_t)q))
            double change = uniform(&s) * total < pair ? 1.0 : -1.0;
            p -= 2.0 * change;
            q += change;
            n_events++;
        }
    done:;
    }
    return n_events;
}
