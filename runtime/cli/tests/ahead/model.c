/* A llama of three layers with a cache, token by token: lists of weights, appends in place, integers with a promised range. The same
   positions at once must give the same numbers as one after the other. */
#include "check.h"
#include "model.h"

enum { VOCABULARY = 21, D = 12, F = 20, HQ = 4, HK = 2, C = 6, LAYERS = 3, POSITIONS = 9, ROOM = 11 };

static const double theta = 10000, eps = 1e-5;

typedef struct {
    float *attn_norm, *q, *k, *v, *o, *ffn_norm, *gate, *up, *down;
} layer;

static layer layers[LAYERS];
static float *embed, *norm, *head;

/* The value of half a float, and the half nearest to a value (ties to even, no subnormals met). */
static double half(uint16_t bits) {
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023;
    double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return bits >> 15 ? -size : size;
}

static double to_half(double value) {
    if (value == 0) return 0;
    int exponent;
    frexp(value, &exponent);
    double unit = ldexp(1, (exponent < -13 ? -13 : exponent) - 11);
    return nearbyint(value / unit) * unit;
}

static void normed(const double *x, const float *w, double *y) {
    double square = 0;
    for (int d = 0; d < D; d++) square += x[d] * x[d];
    for (int d = 0; d < D; d++) y[d] = x[d] / sqrt(square / D + eps) * w[d];
}

static void rotated(double *x, int position) {
    for (int m = 0; m < C / 2; m++) {
        double angle = position * pow(theta, -(double)m / (C / 2)), c = cos(angle), s = sin(angle);
        double a = x[m], b = x[m + C / 2];
        x[m] = a * c - b * s, x[m + C / 2] = b * c + a * s;
    }
}

static void projected(const float *w, const double *x, int rows, int columns, double *y) {
    for (int r = 0; r < rows; r++) {
        y[r] = 0;
        for (int c = 0; c < columns; c++) y[r] += (double)w[r * columns + c] * x[c];
    }
}

/* Logits after the token at `position`, given those before it. */
static void expected(int token, int position, double *logits) {
    static double keys[LAYERS][POSITIONS][HK][C], values[LAYERS][POSITIONS][HK][C];
    double x[D], n[D], add[D];
    for (int d = 0; d < D; d++) x[d] = embed[token * D + d];
    for (int l = 0; l < LAYERS; l++) {
        layer *w = &layers[l];
        double q[HQ][C], k[HK][C], v[HK][C], mixed[HQ * C], g[F], u[F];
        normed(x, w->attn_norm, n);
        projected(w->q, n, HQ * C, D, &q[0][0]);
        projected(w->k, n, HK * C, D, &k[0][0]);
        projected(w->v, n, HK * C, D, &v[0][0]);
        for (int h = 0; h < HK; h++) {
            rotated(k[h], position);
            for (int c = 0; c < C; c++) {
                keys[l][position][h][c] = to_half(k[h][c]);
                values[l][position][h][c] = to_half(v[h][c]);
            }
        }
        for (int h = 0; h < HQ; h++) {
            double score[POSITIONS], top = -INFINITY, total = 0;
            rotated(q[h], position);
            for (int j = 0; j <= position; j++) {
                score[j] = 0;
                for (int c = 0; c < C; c++) score[j] += q[h][c] * keys[l][j][h * HK / HQ][c] / sqrt(C);
                if (score[j] > top) top = score[j];
            }
            for (int j = 0; j <= position; j++) total += exp(score[j] - top);
            for (int c = 0; c < C; c++) {
                mixed[h * C + c] = 0;
                for (int j = 0; j <= position; j++)
                    mixed[h * C + c] += exp(score[j] - top) / total * values[l][j][h * HK / HQ][c];
            }
        }
        projected(w->o, mixed, D, HQ * C, add);
        for (int d = 0; d < D; d++) x[d] += add[d];
        normed(x, w->ffn_norm, n);
        projected(w->gate, n, F, D, g);
        projected(w->up, n, F, D, u);
        for (int f = 0; f < F; f++) g[f] = g[f] / (1 + exp(-g[f])) * u[f];
        projected(w->down, g, D, F, add);
        for (int d = 0; d < D; d++) x[d] += add[d];
    }
    normed(x, norm, n);
    projected(head, n, VOCABULARY, D, logits);
}

#define EACH(field) { layers[0].field, layers[1].field, layers[2].field }

/* Calls the library for `count` tokens after `before`, on caches with room for more positions than there are. */
static int32_t call(const int32_t *tokens, int64_t count, int64_t before, uint16_t *const *keys, uint16_t *const *values, float *logits) {
    const float *attn_norm[] = EACH(attn_norm), *q[] = EACH(q), *k[] = EACH(k), *v[] = EACH(v), *o[] = EACH(o);
    const float *ffn_norm[] = EACH(ffn_norm), *gate[] = EACH(gate), *up[] = EACH(up), *down[] = EACH(down);
    int64_t cache[3] = { 2 * ROOM * C, 2 * C, 2 }, workers = 2;
    sawmill_workers pool = { workers, &workers, backwards };
    sawmill_model_args args = {
        .S = count, .L = LAYERS, .kv_len = before, .tokens = tokens, .w_embed = embed, .w_layers_attn_norm = attn_norm,
        .w_layers_q = q, .w_layers_k = k, .w_layers_v = v, .w_layers_o = o, .w_layers_ffn_norm = ffn_norm,
        .w_layers_gate = gate, .w_layers_up = up, .w_layers_down = down, .w_norm = norm, .w_head = head,
        .kv_k = keys, .kv_k_strides = cache, .kv_v = values, .kv_v_strides = cache,
        .theta = (float)theta, .eps = (float)eps, .logits = logits, .workers = before % 2 ? &pool : NULL,
    };
    return sawmill_model(&args);
}

static float *weights(int64_t count, double size) {
    float *values = numbers(count);
    for (int64_t i = 0; i < count; i++) values[i] *= (float)size;
    return values;
}

int main(void) {
    embed = numbers(VOCABULARY * D), norm = numbers(D), head = numbers(VOCABULARY * D);
    for (int l = 0; l < LAYERS; l++) {
        layer *w = &layers[l];
        w->attn_norm = numbers(D), w->ffn_norm = numbers(D);
        w->q = weights(HQ * C * D, 0.7), w->k = weights(HK * C * D, 0.7), w->v = weights(HK * C * D, 0.7);
        w->o = weights(D * HQ * C, 0.5), w->gate = weights(F * D, 0.7), w->up = weights(F * D, 0.7), w->down = weights(D * F, 0.5);
    }
    uint16_t *keys[2][LAYERS], *values[2][LAYERS];
    for (int l = 0; l < LAYERS; l++)
        for (int way = 0; way < 2; way++) keys[way][l] = calloc(HK * ROOM * C, 2), values[way][l] = calloc(HK * ROOM * C, 2);
    int32_t tokens[POSITIONS] = { 3, 20, 0, 7, 7, 11, 1, 19, 4 };
    float *logits = nothing(VOCABULARY);
    double want[VOCABULARY];
    for (int at = 0; at < POSITIONS; at++) {
        expected(tokens[at], at, want);
        status_is("a token", call(&tokens[at], 1, at, keys[0], values[0], logits), SAWMILL_OK);
        for (int n = 0; n < VOCABULARY; n++) close_to("logits", at * VOCABULARY + n, logits[n], want[n], 2e-3);
    }
    status_is("the first tokens", call(tokens, 4, 0, keys[1], values[1], logits), SAWMILL_OK);
    status_is("the others", call(tokens + 4, POSITIONS - 4, 4, keys[1], values[1], logits), SAWMILL_OK);
    for (int n = 0; n < VOCABULARY; n++) close_to("logits at once", n, logits[n], want[n], 2e-3);
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < HK * ROOM * C; i++) {
            /* Positions past the last stay as they were. */
            double other = i / C % ROOM < POSITIONS ? half(keys[1][l][i]) : 0;
            close_to("keys", i, half(keys[0][l][i]), other, 4e-3);
        }
    int32_t outside = VOCABULARY;
    status_is("a token past the vocabulary", call(&outside, 1, 0, keys[0], values[0], logits), SAWMILL_PROMISE);
    outside = -1;
    status_is("a token below 0", call(&outside, 1, 0, keys[0], values[0], logits), SAWMILL_PROMISE);
    status_is("no token", call(tokens, 0, 0, keys[0], values[0], logits), SAWMILL_REQUIREMENT);
    keys[0][1] = NULL;
    status_is("a cache without memory", call(tokens, 1, 0, keys[0], values[0], logits), SAWMILL_MISSING);
    return finish();
}
