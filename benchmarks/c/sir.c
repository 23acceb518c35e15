#define N_SPECIES 3
#include "simulator.h"

ENSEMBLE {
    EACH_TRAJECTORY {
        START;
        double susceptible = INITIAL_S, infected = INITIAL_I, recovered = INITIAL_R;
        for (;;) {
            double infection = PARAMETER_infect * susceptible * infected;
            double total = infection + 0.1 * infected;
            time = total > 0.0 ? time + exponential(&s) / total : INFINITY;
            RECORD_UNTIL((row[0] = (int64_t)susceptible, row[1] = (int64_t)infected,
                          row[2] = (int64_t)recovered))
            int is_infection = uniform(&s) * total < infection;
            infected += is_infection ? 1.0 : -1.0;
            susceptible -= is_infection ? 1.0 : 0.0;
            recovered += is_infection ? 0.0 : 1.0;
            n_events++;
        }
    done:;
    }
    return n_events;
}
