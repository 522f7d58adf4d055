/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls SSL_write, which is nothing but a five-byte nop, where a probe is cheapest.
 * Arguments: bytes a call, milliseconds, calls a second (0: as fast as it goes). Starts at a line on standard input; prints calls and nanoseconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

__asm__(".globl SSL_write\n.type SSL_write, @function\nSSL_write:\n"
	".byte 0x0f, 0x1f, 0x44, 0x00, 0x00\nmov %edx, %eax\nret\n.size SSL_write, . - SSL_write\n"
	".globl SSL_read\n.type SSL_read, @function\nSSL_read:\n"
	".byte 0x0f, 0x1f, 0x44, 0x00, 0x00\nmov %edx, %eax\nret\n.size SSL_read, . - SSL_read\n");

int SSL_write(void *object, const void *buffer, int bytes);

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
	int bytes = argc > 1 ? atoi(argv[1]) : 256;
	long long limit = (argc > 2 ? atoll(argv[2]) : 1000) * 1000000LL, calls = 0, start, end;
	long long rate = argc > 3 ? atoll(argv[3]) : 0;
	char *buffer = malloc(bytes);

	memset(buffer, 'x', bytes);
	if (getchar() == EOF)
		return 1;
	start = now_ns();
	do {
		for (int i = 0; i < 64; i++)
			SSL_write(buffer, buffer, bytes);
		calls += 64;
		do
			end = now_ns();
		while (rate > 0 && (end - start) < calls * 1000000000LL / rate);
	} while (end - start < limit);
	printf("%lld %lld\n", calls, end - start);
	return 0;
}
