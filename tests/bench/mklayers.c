/*
 * mklayers OUT LAYER...: an image of layers (tars, packed or not) in the file OUT, made by banger's worker process. Prints the milliseconds it took,
 * the KiB that the worker had in memory at most, and the milliseconds of processors' time it used.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "banger/cleanup.h"
#include "image/worker.h"

static double ms(const struct timeval *t)
{
	return (double)t->tv_sec * 1e3 + (double)t->tv_usec / 1e3;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	static struct image_layer layers[LAYERS_MAX];
	struct worker_request request = {
		.task = WORKER_LAYERS, .input = -1, .layers = layers, .seed = "bench"};
	_cleanup_err_ struct err e = {0};
	struct image_result result;
	struct rusage used;
	double began, took;

	if (argc > 1 && strcmp(argv[1], WORKER_ARGUMENT) == 0)
		return worker_main(argc, argv);
	if (argc < 3 || argc - 2 > LAYERS_MAX)
		return 2;
	request.output = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (request.output < 0) {
		perror(argv[1]);
		return 1;
	}
	for (int i = 2; i < argc; i++) {
		struct image_layer *layer = &layers[request.layer_count++];

		*layer = (struct image_layer){.fd = open(argv[i], O_RDONLY | O_CLOEXEC), .grow = -1};
		if (layer->fd < 0) {
			perror(argv[i]);
			return 1;
		}
	}
	began = now();
	if (worker_run(&request, NULL, &result, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return 1;
	}
	took = now() - began;
	getrusage(RUSAGE_CHILDREN, &used);
	printf("%.0f %ld %.0f\n", took, used.ru_maxrss, ms(&used.ru_utime) + ms(&used.ru_stime));
	return 0;
}
