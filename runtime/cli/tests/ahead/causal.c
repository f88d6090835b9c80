/* Grouped-query causal attention: odd sizes, strides, a workspace, workers, and every way a call can be wrong. */
#include "causal.h"
#include "check.h"

enum { B = 2, T = 5, S = 7, HQ = 4, H = 2, K = 16, V = 24 };

static float *q, *k, *v, *o, *lse;
static const double scale = 0.3;

static sawmill_causal_args arguments(void) {
    sawmill_causal_args args = { .B = B, .T = T, .S = S, .HQ = HQ, .H = H, .G = HQ / H,
                                 .q = q, .k = k, .v = v, .scale = (float)scale, .o = o, .lse = lse };
    return args;
}

static void compare(const char *what, int64_t element, int64_t head, int64_t time) {
    for (int b = 0; b < B; b++)
        for (int i = 0; i < T; i++)
            for (int h = 0; h < HQ; h++) {
                double score[S], top = -INFINITY, total = 0;
                int last = i + S - T;
                for (int j = 0; j <= last; j++) {
                    score[j] = 0;
                    for (int d = 0; d < K; d++)
                        score[j] += (double)q[((b * T + i) * HQ + h) * K + d] * k[((b * S + j) * H + h / 2) * K + d];
                    score[j] *= scale;
                    if (score[j] > top) top = score[j];
                }
                for (int j = 0; j <= last; j++) total += exp(score[j] - top);
                for (int c = 0; c < V; c++) {
                    double want = 0;
                    for (int j = 0; j <= last; j++)
                        want += exp(score[j] - top) / total * v[((b * S + j) * H + h / 2) * V + c];
                    int64_t at = b * T * HQ * V + i * time + h * head + c * element;
                    close_to(what, at, o[at], want, 2e-6);
                }
                close_to("lse", h, lse[(b * T + i) * HQ + h], top + log(total), 2e-6);
            }
}

static void clear(void) {
    for (int i = 0; i < B * T * HQ * V; i++) o[i] = NAN;
    for (int i = 0; i < B * T * HQ; i++) lse[i] = NAN;
}

static void wrong(void) {
    sawmill_causal_args args = arguments();
    int64_t bytes = 0;
    status_is("no arguments", sawmill_causal(NULL), SAWMILL_MISSING);
    status_is("no place", sawmill_causal_workspace(&args, NULL), SAWMILL_MISSING);
    args.q = NULL;
    status_is("no q", sawmill_causal(&args), SAWMILL_MISSING);
    args = arguments(), args.T = -1;
    status_is("T below 0", sawmill_causal(&args), SAWMILL_SIZE);
    args = arguments(), args.G = 3;
    status_is("G of 3", sawmill_causal(&args), SAWMILL_REQUIREMENT);
    args = arguments(), args.H = INT64_MAX / 2, args.G = 4;
    status_is("H * G past 64 bits", sawmill_causal(&args), SAWMILL_REQUIREMENT);
    args = arguments(), args.S = INT64_MAX;
    status_is("S past memory", sawmill_causal(&args), SAWMILL_TOO_LARGE);
    args = arguments(), args.B = (int64_t)1 << 50;
    status_is("B past memory", sawmill_causal(&args), SAWMILL_TOO_LARGE);
    int64_t far[4] = { INT64_MIN, 4, 4, 4 };
    args = arguments(), args.q_strides = far;
    status_is("strides past memory", sawmill_causal(&args), SAWMILL_TOO_LARGE);
    sawmill_workers none = { 0, NULL, backwards }, many = { 5000, NULL, backwards }, mute = { 2, NULL, NULL };
    sawmill_workers bad = { 2, NULL, refuse };
    args = arguments(), args.workers = &none;
    status_is("no workers", sawmill_causal(&args), SAWMILL_WORKERS);
    args.workers = &many;
    status_is("too many workers", sawmill_causal_workspace(&args, &bytes), SAWMILL_WORKERS);
    args.workers = &mute;
    status_is("workers that cannot be called", sawmill_causal(&args), SAWMILL_MISSING);
    args.workers = &bad;
    status_is("workers that fail", sawmill_causal(&args), SAWMILL_WORKERS);
    char small[8];
    args = arguments(), args.workspace = small, args.workspace_bytes = sizeof small;
    status_is("a small workspace", sawmill_causal(&args), SAWMILL_WORKSPACE);
}

int main(void) {
    q = numbers(B * T * HQ * K), k = numbers(B * S * H * K), v = numbers(B * S * H * V);
    o = nothing(B * T * HQ * V), lse = nothing(B * T * HQ);
    sawmill_causal_args args = arguments();
    status_is("plain", sawmill_causal(&args), SAWMILL_OK);
    compare("plain", 1, V, HQ * V);

    int64_t count = 3, bytes = -1;
    sawmill_workers workers = { count, &count, backwards };
    clear(), args.workers = &workers;
    status_is("workspace", sawmill_causal_workspace(&args, &bytes), SAWMILL_OK);
    /* One byte off a line, and nothing behind it. */
    args.workspace = (char *)malloc((size_t)bytes + 1) + 1, args.workspace_bytes = bytes;
    status_is("workers", sawmill_causal(&args), SAWMILL_OK);
    compare("workers", 1, V, HQ * V);

    /* The output [B, HQ, V, T]. */
    int64_t turned[4] = { 4 * T * HQ * V, 4, 4 * V * T, 4 * T };
    clear(), args = arguments(), args.o_strides = turned;
    status_is("strides", sawmill_causal(&args), SAWMILL_OK);
    compare("strides", T, V * T, 1);

    args = arguments(), args.B = 0, args.q = NULL, args.o = NULL, args.lse = NULL, args.k = args.v = NULL;
    status_is("nothing to do", sawmill_causal(&args), SAWMILL_OK);
    wrong();
    return finish();
}
