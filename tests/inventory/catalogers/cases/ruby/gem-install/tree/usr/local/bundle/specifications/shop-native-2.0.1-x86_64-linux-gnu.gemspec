# -*- encoding: utf-8 -*-
# stub: shop-native 2.0.1 x86_64-linux-gnu lib

Gem::Specification.new do |s|
  s.name = "shop-native".freeze
  s.version = "2.0.1".freeze
  s.platform = "x86_64-linux-gnu".freeze

  s.required_rubygems_version = Gem::Requirement.new(">= 0".freeze) if s.respond_to? :required_rubygems_version=
  s.require_paths = ["lib".freeze]
  s.authors = ["pratique".freeze]
  s.date = "1980-01-02"
  s.homepage = "https://example.org".freeze
  s.licenses = ["MIT".freeze]
  s.rubygems_version = "3.6.7".freeze
  s.summary = "A gem of the tests".freeze

  s.installed_by_version = "3.6.7".freeze
end
