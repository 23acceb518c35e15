#define N_SPECIES 4
#include "simulator.h"

ENSEMBLE {
    EACH_TRAJECTORY {
        START;
        double substrate = INITIAL_S, enzyme = INITIAL_E, bound = INITIAL_ES, product = INITIAL_P;
        for (;;) {
            double bind = 0.00166 * substrate * enzyme, split = bind + 1e-4 * bound;
            double total = split + 0.1 * bound;
            time = total > 0.0 ? time + exponential(&s) / total : INFINITY;
            RECORD_UNTIL((row[0] = (int64_t)substrate, row[1] = (int64_t)enzyme,
                          row[2] = (int64_t)bound, row[3] = (int64_t)product))
            double target = uniform(&s) * total;
            double binds = target < bind ? 1.0 : -1.0;
            double makes = target < split ? 0.0 : 1.0;
            enzyme -= binds;
            bound += binds;
            product += makes;
            substrate -= binds + makes;
            n_events++;
        }
    done:;
    }
    return n_events;
}
