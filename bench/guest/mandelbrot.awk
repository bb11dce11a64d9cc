# The Mandelbrot set in `rows` rows: additions and multiplications only, which round the same everywhere.
BEGIN {
    for (y = 0; y < rows; y++) {
        inside = steps = 0
        for (x = 0; x < 64; x++) {
            a = -2 + 3 * x / 64
            b = -1 + 2 * y / rows
            r = i = 0
            for (n = 0; n < 100 && r * r + i * i < 4; n++) {
                t = r * r - i * i + a
                i = 2 * r * i + b
                r = t
            }
            steps += n
            if (n == 100) {
                inside++
            }
        }
        printf "%d %d %.17g\n", inside, steps, r + i
    }
}
