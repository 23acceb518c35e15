#define N_SPECIES 22
#include "simulator.h"

/* Ten enzymatic steps of three reactions each. The sum of each step is searched first, in a tree of
   branches with the busy steps in front; within the step the reaction is chosen without a branch.
   Measured against counting the sums below the target, with counts in an array: 20 % less time. */
#define SUM(substrate, enzyme, pair)                                                              \
    (PARAMETER_bind * substrate * enzyme + (PARAMETER_split + PARAMETER_convert) * pair)

/* `left` is what lies between the target and the step's end: binding first, conversion last. */
#define FIRE(substrate, enzyme, product, pair, end)                                               \
    {                                                                                             \
        double left = end - target, conversion = PARAMETER_convert * pair;                        \
        double binds = left > conversion + PARAMETER_split * pair ? 1.0 : -1.0;                   \
        double converts = left <= conversion ? 1.0 : 0.0;                                         \
        pair += binds;                                                                            \
        enzyme -= binds;                                                                          \
        substrate -= binds + converts;                                                            \
        product += converts;                                                                      \
    }

ENSEMBLE {
    EACH_TRAJECTORY {
        START;
        double kkk = INITIAL_KKK, kkkp = INITIAL_KKKp, kk = INITIAL_KK, kkp = INITIAL_KKp;
        double kkpp = INITIAL_KKpp, k = INITIAL_K, kp = INITIAL_Kp, kpp = INITIAL_Kpp;
        double e1 = INITIAL_E1, e2 = INITIAL_E2, kk_pase = INITIAL_KKPase, k_pase = INITIAL_KPase;
        double kkk_e1 = 0.0, kkkp_e2 = 0.0, kk_kkkp = 0.0, kkp_kkpase = 0.0, kkp_kkkp = 0.0;
        double kkpp_kkpase = 0.0, k_kkpp = 0.0, kp_kpase = 0.0, kp_kkpp = 0.0, kpp_kpase = 0.0;
        for (;;) {
            double lower_1 = SUM(kp, k_pase, kp_kpase);
            double lower_2 = lower_1 + SUM(kp, kkpp, kp_kkpp);
            double lower_3 = lower_2 + SUM(kpp, k_pase, kpp_kpase);
            double lower = lower_3 + SUM(k, kkpp, k_kkpp);
            double middle_1 = SUM(kk, kkkp, kk_kkkp);
            double middle_2 = middle_1 + SUM(kkp, kkkp, kkp_kkkp);
            double middle_3 = middle_2 + SUM(kkp, kk_pase, kkp_kkpase);
            double middle = middle_3 + SUM(kkpp, kk_pase, kkpp_kkpase);
            double upper_1 = SUM(kkk, e1, kkk_e1);
            double upper = upper_1 + SUM(kkkp, e2, kkkp_e2);
            double below_upper = lower + middle, total = below_upper + upper;
            time += exponential(&s) / total;
            RECORD_UNTIL((row[0] = (int64_t)kkk, row[1] = (int64_t)kkkp, row[2] = (int64_t)kk,
                          row[3] = (int64_t)kkp, row[4] = (int64_t)kkpp, row[5] = (int64_t)k,
                          row[6] = (int64_t)kp, row[7] = (int64_t)kpp, row[8] = (int64_t)e1,
                          row[9] = (int64_t)e2, row[10] = (int64_t)kk_pase,
                          row[11] = (int64_t)k_pase, row[12] = (int64_t)kkk_e1,
                          row[13] = (int64_t)kkkp_e2, row[14] = (int64_t)kk_kkkp,
                          row[15] = (int64_t)kkp_kkpase, row[16] = (int64_t)kkp_kkkp,
                          row[17] = (int64_t)kkpp_kkpase, row[18] = (int64_t)k_kkpp,
                          row[19] = (int64_t)kp_kpase, row[20] = (int64_t)kp_kkpp,
                          row[21] = (int64_t)kpp_kpase))
            n_events++;
            double target = uniform(&s) * total;
            if (target < lower) {
                if (target < lower_1) FIRE(kp, k_pase, k, kp_kpase, lower_1)
                else if (target < lower_2) FIRE(kp, kkpp, kpp, kp_kkpp, lower_2)
                else if (target < lower_3) FIRE(kpp, k_pase, kp, kpp_kpase, lower_3)
                else FIRE(k, kkpp, kp, k_kkpp, lower)
            } else if (target < below_upper) {
                target -= lower;
                if (target < middle_1) FIRE(kk, kkkp, kkp, kk_kkkp, middle_1)
                else if (target < middle_2) FIRE(kkp, kkkp, kkpp, kkp_kkkp, middle_2)
                else if (target < middle_3) FIRE(kkp, kk_pase, kk, kkp_kkpase, middle_3)
                else FIRE(kkpp, kk_pase, kkp, kkpp_kkpase, middle)
            } else {
                target -= below_upper;
                if (target < upper_1) FIRE(kkk, e1, kkkp, kkk_e1, upper_1)
                else FIRE(kkkp, e2, kkk, kkkp_e2, upper)
            }
        }
    done:;
    }
    return n_events;
}
