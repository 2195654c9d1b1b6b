/* Many small processes in cgroups: fleet_host DIR CGROUPS PROCESSES MIB

   The processes are divided among DIR/0, DIR/1, ..., which exist. Each holds MIB MiB, and touches a
   quarter of them every five seconds. They end with this program, when its input does. */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void live(size_t bytes, int number)
{
	volatile char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t at;

	if (memory == MAP_FAILED)
		_exit(1);
	for (at = 0; at < bytes; at += 4096)
		memory[at] = 1;
	usleep(number * 9973 % 5000000);
	for (;;) {
		for (at = 0; at < bytes / 4; at += 4096)
			memory[at]++;
		sleep(5);
	}
}

int main(int argc, char **argv)
{
	int cgroups, processes, number;
	size_t bytes;
	char path[4096], byte;
	pid_t *pids;

	if (argc != 5)
		return 2;
	cgroups = atoi(argv[2]);
	processes = atoi(argv[3]);
	bytes = (size_t)atoi(argv[4]) << 20;
	pids = calloc(processes, sizeof(*pids));
	for (number = 0; number < processes; number++) {
		pids[number] = fork();
		if (pids[number] < 0) {
			perror("fork");
			break;
		}
		if (pids[number] == 0) {
			int procs;

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			snprintf(path, sizeof(path), "%s/%d/cgroup.procs", argv[1], number % cgroups);
			procs = open(path, O_WRONLY | O_CLOEXEC);
			if (procs < 0 || write(procs, "0", 1) != 1)
				_exit(1);
			close(procs);
			live(bytes, number);
		}
	}
	printf("%d\n", number);
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	while (number--)
		kill(pids[number], SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
