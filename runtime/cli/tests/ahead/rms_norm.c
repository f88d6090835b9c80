/* A root mean square norm of an odd number of 16-bit floats, read backwards. */
#include "check.h"
#include "row_norm.h"

enum { D = 67 };

static double bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}

static uint16_t rounded(double value) {
    float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, 4);
    return (uint16_t)(bits >> 16);
}

int main(void) {
    uint16_t x[D];
    float *w = numbers(D), *y = nothing(D);
    double square = 0;
    for (int i = 0; i < D; i++) x[i] = rounded(number()), square += bf16(x[i]) * bf16(x[i]);
    int64_t backward[1] = { -2 };
    sawmill_row_norm_args args = { .x = x + D - 1, .x_strides = backward, .w = w, .eps = 1e-5f, .y = y };
    status_is("rms_norm", sawmill_row_norm(&args), SAWMILL_OK);
    for (int i = 0; i < D; i++) close_to("y", i, y[i], bf16(x[D - 1 - i]) / sqrt(square / D + 1e-5) * w[i], 1e-6);
    return finish();
}
