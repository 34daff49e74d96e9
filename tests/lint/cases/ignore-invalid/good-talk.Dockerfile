# pratique is a scanner
FROM debian:12
