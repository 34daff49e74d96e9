# lines: 2
FROM registry.example:5000/team/app
USER 10001
