# lines: 4
FROM cimg/base:2024.01
USER circleci
RUN sudo apt-get update && sudo apt-get install -y --no-install-recommends jq=1.6
USER 1000
