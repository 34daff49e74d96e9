# lines: 3
FROM debian:12
RUN echo x | passwd --stdin root
