"""The tests are one package, so that files of one name may stand in several folders."""
