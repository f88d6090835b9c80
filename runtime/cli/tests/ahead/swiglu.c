/* SwiGLU with weights of 8 bits and a scale: packed rows, no free dims, odd sizes. */
#include "check.h"
#include "swiglu.h"

enum { D = 96, F = 32, GROUP = 32, RECORD = 34 };

/* The value of half a float. */
static double half(uint16_t bits) {
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023;
    double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return bits >> 15 ? -size : size;
}

/* Rows of records: a scale of 16 bits, 32 signed bytes. `gap` bytes lie between rows. */
static uint8_t *packed(int rows, int columns, int gap) {
    int bytes = columns / GROUP * RECORD + gap;
    uint8_t *data = malloc((size_t)(rows * bytes));
    for (int i = 0; i < rows * bytes; i++) data[i] = (uint8_t)(seed = seed * 6364136223846793005u + 1442695040888963407u, seed >> 56);
    for (int r = 0; r < rows; r++)
        for (int g = 0; g < columns / GROUP; g++) {
            uint16_t scale = (uint16_t)(0x1800 + 37 * (r + g));
            memcpy(data + r * bytes + g * RECORD, &scale, 2);
        }
    return data;
}

static double value(const uint8_t *data, int columns, int gap, int row, int column) {
    const uint8_t *record = data + row * (columns / GROUP * RECORD + gap) + column / GROUP * RECORD;
    uint16_t scale;
    memcpy(&scale, record, 2);
    return half(scale) * (int8_t)record[2 + column % GROUP];
}

int main(void) {
    float *x = numbers(D), *y = nothing(D);
    uint8_t *gate = packed(F, D, 0), *up = packed(F, D, 6), *down = packed(D, F, 0);
    int64_t apart[2] = { D / GROUP * RECORD + 6, RECORD };
    sawmill_swiglu_args args = { .x = x, .gate = gate, .up = up, .up_strides = apart, .down = down, .y = y };
    status_is("swiglu", sawmill_swiglu(&args), SAWMILL_OK);
    double hidden[F], largest = 0;
    for (int f = 0; f < F; f++) {
        double a = 0, b = 0;
        for (int d = 0; d < D; d++) a += value(gate, D, 0, f, d) * x[d], b += value(up, D, 6, f, d) * x[d];
        hidden[f] = a / (1 + exp(-a)) * b;
    }
    double want[D];
    for (int d = 0; d < D; d++) {
        want[d] = 0;
        for (int f = 0; f < F; f++) want[d] += value(down, F, 0, d, f) * hidden[f];
        if (fabs(want[d]) > largest) largest = fabs(want[d]);
    }
    for (int d = 0; d < D; d++) close_to("y", d, y[d], want[d], 2e-6 * largest);
    return finish();
}
