/* What load.c writes and sink.c reads: the Subject names the message, so a Subject that was altered is a message lost. */
#define SUBJECT "Subject: Backup of volume1 finished, job %x-%u (0 errors, 3 warnings)"
