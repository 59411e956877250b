/*
 * falsejailer: both programs of a Firecracker of no use, by the name it is run under: says its release, and as jailer that it can't, on its error
 * output, and ends. Static: the helper runs it where no library is.
 */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');

	name = name ? name + 1 : argv[0];
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("%s v1.16.1\n", strcmp(name, "jailer") == 0 ? "Jailer" : "Firecracker");
		return 0;
	}
	fprintf(stderr, "the moon is in the wrong house\n");
	return 1;
}
