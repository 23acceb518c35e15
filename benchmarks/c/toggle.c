#define N_SPECIES 2
#include "simulator.h"

ENSEMBLE {
    EACH_TRAJECTORY {
        START;
        double u = INITIAL_U, v = INITIAL_V;
        double make_u = 30.0 * 144.0 / (144.0 + v * v), make_v = 30.0 * 144.0 / (144.0 + u * u);
        for (;;) {
            double first = make_u + u, second = first + make_v, total = second + v;
            time += exponential(&s) / total;
            RECORD_UNTIL((row[0] = (int64_t)u, row[1] = (int64_t)v))
            double target = uniform(&s) * total;
            if (target < first) {
                u += target < make_u ? 1.0 : -1.0;
                make_v = 4320.0 / (144.0 + u * u);
            } else {
                v += target < second ? 1.0 : -1.0;
                make_u = 4320.0 / (144.0 + v * v);
            }
            n_events++;
        }
    done:;
    }
    return n_events;
}
