# -*- encoding: utf-8 -*-

Gem::Specification.new do |s|
  s.name = "webrick"
  s.version = "1.9.1"

  s.required_rubygems_version = Gem::Requirement.new(">= 0") if s.respond_to? :required_rubygems_version=
  s.metadata = { "bug_tracker_uri" => "https://github.com/ruby/webrick/issues" } if s.respond_to? :metadata=
  s.require_paths = ["lib"]
  s.authors = ["TAKAHASHI Masayoshi", "GOTOU YUUZOU", "Eric Wong"]
  s.date = "2025-03-14"
  s.email = [nil, nil, "normal@ruby-lang.org"]
  s.homepage = "https://github.com/ruby/webrick"
  s.licenses = ["Ruby", "BSD-2-Clause"]
  s.required_ruby_version = Gem::Requirement.new(">= 2.4.0")
  s.rubygems_version = "3.6.3"

  s.installed_by_version = "3.6.3"
end
